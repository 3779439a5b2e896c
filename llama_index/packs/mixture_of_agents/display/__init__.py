"""Views of results, runs and recipes: plain text, terminal, HTML, timeline, diagram."""
