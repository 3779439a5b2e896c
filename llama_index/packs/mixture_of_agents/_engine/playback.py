"""Repeats an answer from a cache or a trace file."""

import re

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, TextBlock

from llama_index.packs.mixture_of_agents.events import Proposal

from .request import Request

_PIECES = re.compile(r"\s*\S+|\s+\Z")


async def answer_again(
    request: Request, proposals: tuple[Proposal, ...], message: ChatMessage | None = None
) -> ChatResponse:
    """The response to a request that was answered before, streamed word by word if the request asks for a stream.

    Args:
        request: the request.
        proposals: what was read from the answer.
        message: the answer with its tool calls; None if it has none.

    Returns:
        The response; of a stream, its last chunk.
    """
    text = proposals[0].text if proposals else ""
    if message is None:
        message = ChatMessage(role=MessageRole.ASSISTANT, content=text)
    if request.on_chunk is None:
        return ChatResponse(message=message)
    streamed = ""
    for piece in _PIECES.findall(text):
        streamed += piece
        so_far = ChatMessage(role=MessageRole.ASSISTANT, blocks=[TextBlock(text=streamed)])
        await request.on_chunk(piece, ChatResponse(message=so_far, delta=piece))
    last = ChatResponse(message=message, delta="")
    await request.on_chunk("", last)
    return last
