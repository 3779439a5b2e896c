"""What a judge reads, and what its verdict says. Texts are joined, never formatted."""

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents._checks import whole
from llama_index.packs.mixture_of_agents._messages.fitting import MARK
from llama_index.packs.mixture_of_agents._messages.prompts import fence, text_of
from llama_index.packs.mixture_of_agents.events import Proposal
from llama_index.packs.mixture_of_agents.recipe import Agent, Briefing, Step

_NAME = r"(?:(?:responses?|answers?|proposals?|number)\s*)?\(?\d{1,6}\)?"
_BARE = re.compile(rf"\s*{_NAME}(?:(?:[\s>,;]|and\b|then\b)+{_NAME})*[\s.,;]*")
_PLACE = r"\s*(?:rank\s+)?(\d{1,6})(?:st|nd|rd|th)?(?: place)?(?:[.):]|\)?:)\s+"
_ITEM_NAME = r"(?:(?:response|answer|proposal)\s+)?(\d{1,6})"
_ITEM = re.compile(rf"{_PLACE}{_ITEM_NAME}[\s.,;]*")
_COMMENTED = re.compile(rf"{_PLACE}{_ITEM_NAME}(?![\d/])(?:\W.*)?")
_LABEL = re.compile(r"(\D*(?::|=|\b(?:is|are|be|of)\b))\s*")
_BEST_FIRST = re.compile(r"best to worst|best first")
_AGAINST = re.compile(r"\b(?:not|never|least|worst|wrong|bad|rejected|excluded|initial)\b|n't")
_PRAISED = re.compile(r"\bresponse\s+\d+ [^.\d\n]*\b(?:best|most consistent)\b")
_DOUBT = re.compile(rf"{_AGAINST.pattern}|\b(?:no|none|neither|but|however|than)\b")
_SCORE = re.compile(r"\s*(-?\d+(?:\.\d+)?)(?:\s*(?:/|out of)\s*10)?[\s.]*")
_OF_TEN = re.compile(r"(?<![\d.])(\d+(?:\.\d+)?)(?:/| out of )10\b(?!\.\d)")
_DECISION = re.compile(r"\s*(yes|no|true|false)\s*(?:[.,!:;\n-]|$)")
_DOUBT_OF_YES = re.compile(r"\b(?:but|if|however|except|although|unless|wait|actually)\b")
_BRACES = 100
"""How many braces are tried as the beginning of an object: each failure costs time in the length of the text."""
_TRUTHS = {"true": True, "yes": True, "false": False, "no": False}
_WORDS = {
    "ranking": "rank|order",
    "chosen": "chose|chosen|choice|choose|pick|select|best",
    "most_consistent": "most consistent|consistent|vote|winner|best",
    "rating": "rat(?:e|ing)|score|grade",
    "good_enough": "good enough|decision|verdict|answer",
}
"""What a label may call each key, besides the key itself."""


def as_agent(given: Agent | LLM) -> Agent:
    """An agent, named after its model where it has no name."""
    agent = given if isinstance(given, Agent) else Agent(given)
    return agent if agent.name else replace(agent, name=agent.model)


def as_judge(given: Agent | LLM) -> Agent:
    """A judge. A plain LLM is asked at temperature 0, since the same answers deserve the same verdict."""
    return as_agent(given if isinstance(given, Agent) else Agent(given, temperature=0.0))


def briefing(
    prompt: str,
    step: Step,
    proposals: Sequence[Proposal],
    task: str = "",
    latest: Sequence[Proposal] = (),
) -> Briefing:
    """What a judge reads: its instructions, the conversation, and the responses without their authors.

    Args:
        prompt: the instructions.
        step: where the run stands.
        proposals: the responses, numbered from 1.
        task: what is asked this time; it follows the responses.
        latest: responses of a later round, numbered from 1 again.
    """

    def put(texts: Sequence[str]) -> list[ChatMessage]:
        # A response of which nothing is left keeps its number: the verdict names numbers.
        instructions, shown = prompt, [text or MARK.strip() for text in texts]
        if step.tag:
            instructions, shown = fence(prompt, shown, step.tag)
        responses, later = shown[: len(proposals)], shown[len(proposals) :]
        parts = ["# Conversation", *map(_turn, step.messages)]
        parts += ["# Responses", *_numbered("Response", responses)]
        if later:
            parts += ["# The latest round", *_numbered("Latest response", later)]
        parts += [task] if task else []
        return [
            ChatMessage(role=MessageRole.SYSTEM, content=instructions),
            ChatMessage(role=MessageRole.USER, content="\n\n".join(parts)),
        ]

    return Briefing([proposal.text for proposal in (*proposals, *latest)], put)


@dataclass(frozen=True, slots=True)
class Judged:
    """The base of selections with a judge, and a judge on its own.

    Attributes:
        judge: the LLM that judges.
    """

    judge: Agent | LLM

    def __post_init__(self) -> None:
        whole(type(self).__name__, 1, k=getattr(self, "k", 1))  # of those that pass on the k best
        object.__setattr__(self, "judge", as_judge(self.judge))

    @property
    def agent(self) -> Agent:
        """The judge as the agent that it has become."""
        assert isinstance(self.judge, Agent)
        return self.judge

    async def verdict(self, step: Step, read: Briefing) -> str:
        """The judge's answer to what it reads; "" if the call failed."""
        answers = await step.ask(self.agent, read)
        return answers[0].text if answers else ""

    def unread(self, step: Step, what: str) -> str:
        """Say that the judge's verdict could not be read."""
        return lacking(step, self.agent, f"{what} that could be read")


def lacking(step: Step, agent: Agent, what: str) -> str:
    """Say what an agent did not give to a selection."""
    return f"layer {step.layer}: {agent.name} gave no {what}"


def _turn(message: ChatMessage) -> str:
    return f"## {message.role.value}\n{text_of(message)}"


def _numbered(label: str, texts: Sequence[str]) -> list[str]:
    return [f"## {label} {number}\n{text}" for number, text in enumerate(texts, 1)]


def object_in(text: str, *keys: str) -> dict[str, Any] | None:
    """The first JSON object in a text, whatever stands around it.

    Args:
        text: a judge's answer.
        keys: the object must have one of these keys; with none given, any object will do.

    Returns:
        The object, or None where there is none.
    """
    return next((o for o in _objects(text) if not keys or not o.keys().isdisjoint(keys)), None)


def order_in(text: str, key: str, count: int) -> list[int]:
    """The responses that a verdict names, in its order.

    The verdict is a JSON object with the key, or words that leave no doubt: numbers of responses alone, a line like
    "FINAL RANKING: 2 > 1 > 3", or a list whose own numbers are places. Numbers elsewhere in a sentence are not read:
    they may count something.

    Args:
        text: a judge's answer.
        key: what the numbers stand under: "ranking", "chosen", "most_consistent".
        count: how many responses there are. Numbers of no response, and repeated ones, do not count.

    Returns:
        Indices from 0. Empty where the verdict cannot be read, or says two different things.
    """
    numbers: list[int] = _stated(text, key, _numbers, _orders) or []
    return list(dict.fromkeys(number - 1 for number in numbers if 1 <= number <= count))


def number_in(text: str, key: str) -> float | None:
    """The number that a verdict gives under a key, in a line like "Rating: 8/10", or as all that it says."""
    return _stated(text, key, lambda value: _score(str(value)), _scores)


def truth_in(text: str, key: str) -> bool | None:
    """Whether a verdict says true or false under a key, or begins with a plain yes or no."""
    return _stated(text, key, lambda value: _TRUTHS.get(str(value).lower()), _decisions)


def _stated(
    text: str,
    key: str,
    of_value: Callable[[Any], Any],
    of_words: Callable[[str, re.Pattern[str]], list[Any]],
) -> Any:
    """What a verdict states under a key; None where it states nothing, or two different things."""
    objects = list(_objects(text))
    if objects:
        found = [of_value(one[key]) for one in objects if key in one]
    elif text.count("{") != text.count("}") or text.count("[") != text.count("]"):
        return None  # JSON that was cut off
    else:
        words = re.compile(rf"\b(?:{_WORDS.get(key, re.escape(key.replace('_', ' ')))})")
        found = of_words(_plain(text), words)
    return found[0] if found and all(one == found[0] for one in found) else None


def _objects(text: str) -> Iterator[dict[str, Any]]:
    decoder, start = json.JSONDecoder(), text.find("{")
    for _ in range(_BRACES):
        if start < 0:
            return
        try:
            value, end = decoder.raw_decode(text, start)
        except ValueError:
            end = start + 1
        except RecursionError:
            return
        else:
            yield value
        start = text.find("{", end)


def _plain(text: str) -> str:
    """A text in small letters without its markup, each item of a list on a line of its own."""
    text = re.sub(r"```\w*|[*`\"'\[\]{}#]", "", text.lower()).replace("_", " ")
    text = re.sub(r"->|=>|\u2192", ">", text)
    text = re.sub(r"(?m)^[ \t]*[-+] +", "", text)
    return re.sub(r"(?<=[:,;]) *(?=\d+[.)] (?:response|answer|proposal)\b)", "\n", text)


def _labelled(text: str, words: re.Pattern[str]) -> Iterator[tuple[str, str, list[str]]]:
    """Each label about the words that a line begins with, the rest of the line, and the lines behind it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for at, line in enumerate(lines):
        found = _LABEL.match(line)
        label = found[1] if found else line
        if words.search(label) and not _AGAINST.search(_BEST_FIRST.sub("", label)):
            yield label, line[found.end() :] if found else "", lines[at + 1 :]


def _numbers(value: Any) -> list[int]:
    """The responses that a JSON value names: 2, "Response 2", [2, 1] or "2 > 1"; none where it holds other things."""
    if isinstance(value, str):
        return _bare(_plain(value))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return [int(value)] if -1e6 < value < 1e6 and value % 1 == 0 else [0]
    parts: list[Any] = value if isinstance(value, list) else []  # type: ignore[reportUnknownVariableType]
    named = [_numbers(part) for part in parts]
    return [one[0] for one in named] if all(len(one) == 1 for one in named) else []


def _bare(text: str) -> list[int]:
    """The numbers of a text that only names responses."""
    return [int(number) for number in re.findall(r"\d+", text)] if _BARE.fullmatch(text) else []


def _listed(lines: Iterable[str], item: re.Pattern[str]) -> list[int]:
    """The responses that a numbered list names, by place; none where a place is missing or taken twice."""
    found = [match for match in map(item.fullmatch, lines) if match]
    named = sorted((int(one[1]), int(one[2])) for one in found)
    whole = [place for place, _ in named] == list(range(1, len(named) + 1))
    return [number for _, number in named] if whole else []


def _orders(text: str, words: re.Pattern[str]) -> list[list[int]]:
    whole = _bare(text)
    if whole:
        return [whole]
    found: list[tuple[str, list[int]]] = []
    for label, rest, behind in _labelled(text, words):
        order = _bare(rest)
        if not rest and (label.endswith(":") or len(label.split()) <= 4):
            items = list(itertools.takewhile(_COMMENTED.fullmatch, behind))
            plain = " ".join(itertools.takewhile(_BARE.fullmatch, behind))
            order = _listed(items, _COMMENTED) or _bare(plain)
        found += [(label, order)] if order else []
    if found:
        final = [order for label, order in found if "final" in label]
        return final or [order for _, order in found]
    listed = _listed(text.splitlines(), _ITEM)
    return [listed] if len(listed) > 1 else _named_best(text, words)


def _named_best(text: str, words: re.Pattern[str]) -> list[list[int]]:
    """The one response that a sentence names and calls the best."""
    named = {int(number) for number in re.findall(r"\bresponse\s+(\d{1,6})", text)}
    praised = words.search("best") and _PRAISED.search(text) and not _DOUBT.search(text)
    return [list(named)] if praised and len(named) == 1 else []


def _score(text: str) -> float | None:
    found = _SCORE.fullmatch(text)
    return float(found[1]) if found else None


def _scores(text: str, words: re.Pattern[str]) -> list[float]:
    labelled = [_score(rest) for _, rest, _ in _labelled(text, words)]
    stated = [_score(text), *labelled, *map(float, _OF_TEN.findall(text))]
    return [score for score in stated if score is not None]


def _decisions(text: str, words: re.Pattern[str]) -> list[bool]:
    stated = [text, *(rest for _, rest, _ in _labelled(text, words))]
    found = [_DECISION.match(one) for one in stated if not _DOUBT_OF_YES.search(one)]
    return [_TRUTHS[one[1]] for one in found if one]
