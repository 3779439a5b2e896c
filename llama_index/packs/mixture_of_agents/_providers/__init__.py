"""Everything that is specific to single LLM classes of LlamaIndex's integrations."""
