"""Messages in, messages out: what each LLM is told. Pure."""
