"""Mixtures as tools of the Model Context Protocol (MCP), for any assistant that speaks it. Needs the extra ``mcp``."""

from .cost_bound import DEFAULT_USD, bounded
from .toolbox import create_server, serve_stdio

__all__ = ["DEFAULT_USD", "bounded", "create_server", "serve_stdio"]
