"""Threads, event loops and tasks."""
