"""Builds the messages that each LLM receives. Pure functions: messages in, messages out."""
