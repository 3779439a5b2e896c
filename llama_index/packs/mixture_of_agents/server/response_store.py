"""Stores conversations, which a later request continues by its ``previous_response_id``."""

import json
from collections import OrderedDict
from typing import Any

from llama_index.core.storage.kvstore.types import BaseKVStore

from .error_bodies import Problem, Refused
from .responses_request import Messages

MOST, LARGEST = 1000, 64 * 1024 * 1024
"""Conversations and bytes that are kept in memory."""
_COLLECTION = "moa_responses"


class ResponseStore:
    """Keeps the messages up to each answer. The oldest are dropped when there is no more room.

    Args:
        disk: A key-value store of LlamaIndex's that keeps them over a restart. None keeps them in memory.
    """

    def __init__(self, disk: BaseKVStore | None = None) -> None:
        self._disk: Any = disk  # its methods are typed with bare dicts
        self._kept: OrderedDict[str, str] = OrderedDict()
        self._size = 0

    async def get(self, name: str) -> Messages:
        """The messages up to an answer.

        Args:
            name: The answer's id.

        Raises:
            Refused: There is no such answer, or not any more.
        """
        if self._disk:
            found: Any = await self._disk.aget(name, _COLLECTION)
            text = found["messages"] if found else None
        else:
            text = self._kept.get(name)
        if text is None:
            problem = f"previous_response_id: there is no response {name!r}, or it is no longer kept; send the conversation"
            raise Refused(
                Problem(400, problem, "previous_response_not_found", "previous_response_id")
            )
        return json.loads(text)

    async def put(self, name: str, messages: Messages) -> None:
        """Keep the messages up to an answer, including that answer."""
        text = json.dumps(messages)
        if self._disk:
            await self._disk.aput(name, {"messages": text}, _COLLECTION)
            return
        self._kept[name] = text
        self._size += len(text)
        while self._kept and (len(self._kept) > MOST or self._size > LARGEST):
            _, dropped = self._kept.popitem(last=False)
            self._size -= len(dropped)
