"""How alike proposals are: by an embedding model, or by the words that they have in common."""

from collections.abc import Sequence
from functools import partial

from llama_index.core.base.embeddings.base import BaseEmbedding, similarity

from llama_index.packs.mixture_of_agents.agreement import Similarity, overlaps
from llama_index.packs.mixture_of_agents.events import Proposal
from llama_index.packs.mixture_of_agents.threads import in_thread


async def likeness(
    proposals: Sequence[Proposal], embedding: BaseEmbedding | None
) -> tuple[Similarity, str]:
    """How alike proposals are, each with each.

    Args:
        proposals: the proposals.
        embedding: compares them by meaning (cosine similarity); None by the words in common.

    Returns:
        The similarities, and why the words had to do in place of the embedding ("" where they had not).
    """
    texts = [proposal.text for proposal in proposals]
    if embedding is None or len(texts) < 2:
        return overlaps(texts), ""
    try:
        # In a thread: an embedding's async client may be bound to another event loop.
        vectors = await in_thread(partial(embedding.get_text_embedding_batch, texts))
    except Exception as error:  # noqa: BLE001 - an integration may raise anything; the run goes on without it
        return overlaps(
            texts
        ), f"the embedding failed ({type(error).__name__}): words were compared instead"
    return [[similarity(one, other) for other in vectors] for one in vectors], ""
