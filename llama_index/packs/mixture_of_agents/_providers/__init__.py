"""What is peculiar to the LLM classes of LlamaIndex's integrations."""
