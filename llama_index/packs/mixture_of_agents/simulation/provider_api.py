"""The interface of a provider. Each provider is one module with these functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from .answers import Tokens
from .behaviour import Behaviour, Reply
from .conversation import Json
from .refusals import Problem


class Provider(Protocol):
    """A provider's wire format; `openai_api` and `mistral_api` are such modules."""

    @property
    def NAME(self) -> str: ...  # noqa: N802

    def unauthorized(self, *, has_key: bool) -> Problem: ...

    def not_json(self) -> Problem: ...

    def unknown_model(self, model: str) -> Problem: ...

    def failed(self, status: int, message: str) -> Problem: ...

    def error_json(self, problem: Problem) -> Json: ...

    def problem_in(self, body: Json, behaviour: Behaviour) -> Problem | None: ...

    def answer_json(
        self, number: int, body: Json, replies: Sequence[Reply], tokens: Tokens
    ) -> Json: ...

    def chunks(
        self, number: int, body: Json, replies: Sequence[Reply], tokens: Tokens, words: int
    ) -> Iterator[Json]: ...
