"""The references in the messages of a layer's agents: placed by the recipe, and cut to each model's context window."""

import random
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from llama_index.core.base.llms.types import ChatMessage

from llama_index.packs.mixture_of_agents._concurrency.threads import in_thread
from llama_index.packs.mixture_of_agents._messages.fitting import fit
from llama_index.packs.mixture_of_agents._messages.prompts import (
    add_system_prompt,
    fence,
    inject,
    with_references,
)
from llama_index.packs.mixture_of_agents._messages.tokens import (
    count_tokens,
    most_tokens,
    most_tokens_of,
    tokens_of,
)
from llama_index.packs.mixture_of_agents._providers.facts import output_limit
from llama_index.packs.mixture_of_agents._providers.responses import is_cut_off
from llama_index.packs.mixture_of_agents._providers.transport import Transport
from llama_index.packs.mixture_of_agents.events import Proposal
from llama_index.packs.mixture_of_agents.recipe import Agent, Briefing, Recipe

_ROOM = 4096
"""Tokens kept for an answer whose length nothing limits; at most a quarter of the context window."""


class References:
    """The references that one layer, or the aggregator, reads. They carry no names.

    Args:
        texts: their texts.
        recipe: says how they are placed, fenced and shuffled.
        addition: text that follows them.
        place: the place in the run. With the recipe's seed it determines what is drawn by chance.

    Attributes:
        order: their order, as positions from 0. They are not shuffled if there is an addition, which may refer to them
            by number.
    """

    def __init__(
        self, texts: Sequence[str], recipe: Recipe, addition: str = "", place: object = ""
    ) -> None:
        self.recipe, self._addition = recipe, addition
        self.texts, self._tag = tuple(texts), ""
        self.order: Sequence[int] = range(len(texts))
        if texts and (recipe.shuffle or recipe.fence):
            self._draw(chance_of(recipe, place))

    def _draw(self, chance: random.Random) -> None:
        if self.recipe.shuffle and not self._addition:
            self.order = chance.sample(self.order, len(self.order))
            self.texts = tuple(self.texts[position] for position in self.order)
        if self.recipe.fence:
            self._tag = draw_tag(chance)

    def put(self, messages: Sequence[ChatMessage]) -> Briefing:
        """The conversation with the references in it."""
        # An agent's role stands before the references. Behind them it would read as part of the last one.
        return Briefing(
            self.texts, partial(self._put, messages), lambda role: self.put(inject(messages, role))
        )

    def _put(self, messages: Sequence[ChatMessage], texts: Sequence[str]) -> list[ChatMessage]:
        texts = [text for text in texts if text]
        if not texts:
            return list(messages)
        prompt = self.recipe.prompt
        if self._tag:
            prompt, texts = fence(prompt, texts, self._tag)
        text = with_references(prompt, texts)
        text = f"{text}\n\n{self._addition}" if self._addition else text
        return inject(messages, text, self.recipe.placement)


def chance_of(recipe: Recipe, place: object) -> random.Random:
    """The source of chance at a place of a run: repeatable with a seed, secret without."""
    seeded = random.Random(f"{recipe.seed} {place}")  # noqa: S311  # repeatable
    return random.SystemRandom() if recipe.seed is None else seeded


def draw_tag(chance: random.Random) -> str:
    """A tag for ``prompts.fence``."""
    return f"response-{chance.getrandbits(32):08x}"


class Rendering:
    """A briefing, rendered once for all agents whose models have room for it.

    Args:
        briefing: the briefing; only its texts are ever cut.
        recipe: says how long answers may be.

    Attributes:
        whole: the messages with all texts whole.
        cut: the names of the agents that were given cut texts.
    """

    def __init__(self, briefing: Briefing, recipe: Recipe) -> None:
        self._briefing, self._recipe = briefing, recipe
        self.whole = list(briefing)
        self.cut: list[str] = []
        self._most: int | None = None
        self._fitted: dict[int, list[ChatMessage]] = {}
        self._with_role: dict[str, Rendering] = {}

    async def for_agent(
        self, agent: Agent, transport: Transport, kwargs: Mapping[str, Any]
    ) -> list[ChatMessage]:
        """The messages for an agent: with its own system prompt, and with texts that fit its model.

        Args:
            agent: the agent.
            transport: the transport of its LLM.
            kwargs: further parameters of the call; tools take room too.

        Returns:
            The messages to send.
        """
        role, with_role = agent.system_prompt, self._briefing.with_role
        if not role or with_role is None:
            messages = await self.fitted(agent, transport, kwargs, role or "")
            return add_system_prompt(messages, role) if role else messages
        if role not in self._with_role:
            self._with_role[role] = Rendering(with_role(role), self._recipe)
            self._with_role[role].cut = self.cut
        return await self._with_role[role].fitted(agent, transport, kwargs)

    async def fitted(
        self, agent: Agent, transport: Transport, kwargs: Mapping[str, Any], role: str = ""
    ) -> list[ChatMessage]:
        """The messages, with room left for tools and for a role that is not among them yet."""
        messages = self.whole
        if self._briefing.texts and transport.window is not None:
            room = transport.window - answer_room(agent, transport, self._recipe, kwargs)
            own = (role, str(kwargs.get("tools") or ""))
            if self._bound() + most_tokens(own) > room:
                messages = await in_thread(partial(self._within, room, own))  # counting takes time
                self.cut += [agent.name] if messages is not self.whole else []
        return messages

    def _bound(self) -> int:
        """An upper bound for the tokens of the whole, which is cheap to compute."""
        if self._most is None:
            self._most = most_tokens_of(self.whole)
        return self._most

    def _within(self, room: int, own: Sequence[str]) -> list[ChatMessage]:
        # A tenth is kept back, since the model's own tokenizer may count more tokens than ours.
        room = room * 9 // 10 - sum(map(count_tokens, own))
        if room not in self._fitted:
            briefing = self._briefing
            bare = briefing.put(["." for _ in briefing.texts])
            texts = fit(briefing.texts, room - tokens_of(bare), count_tokens)
            self._fitted[room] = self.whole if texts == briefing.texts else briefing.put(texts)
        return self._fitted[room]


def answer_room(
    agent: Agent, transport: Transport, recipe: Recipe, kwargs: Mapping[str, Any]
) -> int:
    """The tokens to keep for an agent's answer."""
    wanted = kwargs.get("max_tokens") or agent.max_tokens or recipe.max_tokens
    known = output_limit(agent.llm, wanted)
    return known or min(_ROOM, (transport.window or 4 * _ROOM) // 4)


def reference_text(proposal: Proposal) -> str:
    """A proposal as the next layer or the aggregator reads it, with a mark if it was cut off."""
    cut = is_cut_off([proposal])
    return f"{proposal.text} [cut off at its token limit]" if cut else proposal.text


def cut_words(agents: Sequence[str]) -> str:
    """Say for which agents references were cut."""
    return f"references were cut to fit the context window of {', '.join(dict.fromkeys(agents))}"
