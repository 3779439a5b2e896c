"""HTTP connections that many LLMs share, for LlamaIndex's OpenAI class and those derived from it.

    gpt, mini, nano = share_clients(OpenAI("gpt-4.1"), OpenAI("gpt-4.1-mini"), OpenAI("gpt-4.1-nano"))

A mixture shares the connections of its members without being asked. This is for LLMs that are asked on their own too,
and for a bound on the connections.
"""

from llama_index.packs.mixture_of_agents._providers.connections import AnyLLM, SharedClients

__all__ = ["share_clients"]


def share_clients(*llms: AnyLLM, connections: int | None = None) -> list[AnyLLM]:
    """Copies of LLMs that share one HTTP client; the LLMs themselves are not changed.

    The shared client is one aiohttp client, which works on any number of event loops and closes with them, and
    a mixture's requests go straight to it, past most of the OpenAI SDK (docs/performance.md says what differs).
    Where the environment names a proxy, every LLM gets httpx clients of its own that have at least their
    SSL context in common.

    Args:
        llms: the LLMs. One that is not of LlamaIndex's OpenAI class (or derived from it), that was given a client by
            its maker, that makes a new one for every call (``reuse_client=False``), or whose address has a password
            in it, is returned as it is.
        connections: how many there may be at once: as many as the widest layer has proposers, times the runs at
            once. A call that finds none free waits. None is no bound.

    Returns:
        The copies, in the order of the LLMs.
    """
    shared = SharedClients(connections)
    return [shared.share_with(llm) for llm in llms]
