"""A result, a run and a recipe to look at: as text, in a terminal, in a notebook, as a timeline, as a diagram."""
