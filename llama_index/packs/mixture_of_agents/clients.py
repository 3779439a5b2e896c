"""HTTP connections that many LLMs share, for LlamaIndex's OpenAI and Anthropic classes and those derived from them.

    gpt, mini, nano = share_clients(OpenAI("gpt-4.1"), OpenAI("gpt-4.1-mini"), OpenAI("gpt-4.1-nano"))

A mixture shares the connections of its members by default. Use this for LLMs outside a mixture, or to limit the number
of connections.
"""

from llama_index.packs.mixture_of_agents._providers.connections import AnyLLM, SharedClients

__all__ = ["share_clients"]


def share_clients(*llms: AnyLLM, connections: int | None = None) -> list[AnyLLM]:
    """Make copies of LLMs that share one HTTP client. The LLMs themselves are not changed.

    The shared client is an aiohttp client. It works on any number of event loops and closes with them. A mixture's
    requests go straight to it, past most of the OpenAI SDK (docs/performance.md explains the differences). If the
    environment names a proxy, every LLM gets its own httpx clients, and these share one SSL context.

    Args:
        llms: the LLMs. Five kinds are returned unchanged: those of other classes than LlamaIndex's OpenAI and Anthropic
            classes and their subclasses, those with a client of the caller's, those that make a client for every call
            (``reuse_client=False``), those with a password in their address, and Claude at Vertex AI and Bedrock.
        connections: the largest number of connections at once. A mixture needs one for each proposer of its widest
            layer, times the number of parallel runs. Without a free connection a call waits. None sets no limit.

    Returns:
        The copies, in the order of the LLMs.

    Example:
        ```python
        from llama_index.llms.openai import OpenAI
        from llama_index.packs.mixture_of_agents.clients import share_clients

        large, mini = share_clients(OpenAI("gpt-4.1"), OpenAI("gpt-4.1-mini"))
        ```
    """
    shared = SharedClients(connections)
    return [shared.share_with(llm) for llm in llms]
