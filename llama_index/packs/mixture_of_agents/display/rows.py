"""The texts of a result's table, for every kind of table."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from llama_index.packs.mixture_of_agents.errors import FailureKind
from llama_index.packs.mixture_of_agents.events import CallFinished, Usage
from llama_index.packs.mixture_of_agents.pricing import Cost

if TYPE_CHECKING:
    from llama_index.packs.mixture_of_agents.result import MixtureResult

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SMALLEST = Decimal("0.00001")
COLUMNS = ("", "agent", "seconds", "tokens in", "out", "US $", "")  # the last one holds remarks


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: one call, or the total.

    Attributes:
        place: "layer 1", where the layer's first call stands; "aggregator"; "total".
        agent: The agent's name.
        tokens_in: Tokens sent.
        tokens_out: Tokens received.
        cost: US dollars.
        seconds: of a proposer, from its layer's start, so that its layer's calls can be compared; of others, from
            their own.
        failed: Whether the call failed.
        critical: Whether the call is the slowest of its layer.
        remark: What is unusual about it.
    """

    place: str
    agent: str
    seconds: str
    tokens_in: str
    tokens_out: str
    cost: str
    remark: str
    failed: bool = False
    critical: bool = False

    @property
    def cells(self) -> tuple[str, ...]:
        """Its texts, in the order of ``COLUMNS``."""
        seconds = f"{self.seconds}*" if self.critical else f"{self.seconds} "
        return (
            self.place,
            self.agent,
            seconds,
            self.tokens_in,
            self.tokens_out,
            self.cost,
            self.remark,
        )


def printable(text: str) -> str:
    """Remove control characters from a text, so that a model cannot steer the terminal.

    Args:
        text: the text of a model or a user.

    Returns:
        The text without them.
    """
    return _CONTROL.sub("", text)


def one_line(text: str, length: int) -> str:
    """Return a text's words in one line.

    Args:
        text: the text.
        length: the most characters; a longer line ends with "...".
    """
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 3]}..."


def rows(result: "MixtureResult") -> Iterator[Row]:
    """Yield a row for each call, layer by layer, and the total.

    Args:
        result: the run.

    Yields:
        The rows of its table.
    """
    critical = {call.call for call in held_up(result)}
    for layer in result.layers:
        places = {"proposer": f"layer {layer.layer}", "aggregator": "aggregator", "judge": "judge"}
        seen: set[str] = set()
        for call in layer.calls:
            place = "" if call.role in seen else places[call.role]
            seen.add(call.role)
            begun = layer.started if call.role == "proposer" else call.started
            cost = result.cost_of(call)
            yield _row(place, call, cost, call.ended - begun, critical=call.call in critical)
    yield _total(result)


def held_up(result: "MixtureResult") -> tuple[CallFinished, ...]:
    """Return the slowest call of each layer of proposers, for a mark: the critical path without the aggregator.

    Args:
        result: the run.
    """
    return tuple(call for call in result.critical_path if call.role != "aggregator")


def _row(place: str, call: CallFinished, cost: Cost, seconds: float, *, critical: bool) -> Row:
    return Row(
        place,
        name_of(call),
        f"{seconds:.2f}",
        *tokens(call.usage),
        money(cost),
        remark(call),
        call.failure is not None,
        critical,
    )


def _total(result: "MixtureResult") -> Row:
    cost = result.cost
    part = f">{_amount(cost.at_least)}" if cost.unpriced and cost.at_least else money(cost)
    return Row("total", "", f"{result.elapsed:.2f}", *tokens(result.usage), part, "")


def name_of(call: CallFinished) -> str:
    """Return the agent's name, with its model if the name does not begin with it.

    Args:
        call: the call.
    """
    return call.agent if call.agent.startswith(call.model) else f"{call.agent} ({call.model})"


def tokens(usage: Usage) -> tuple[str, str]:
    """Return tokens in and out as text; "~" before tokens that no provider reported.

    Args:
        usage: the tokens.
    """
    about = "~" if usage.estimated else ""
    return f"{about}{usage.input_tokens:,}", f"{about}{usage.output_tokens:,}"


def money(cost: Cost) -> str:
    """Return a short price: "?" if it is not known, "~" before it if tokens were estimated.

    Args:
        cost: the cost.
    """
    about = "~" if cost.estimated else ""
    return "?" if cost.usd is None else f"{about}{_amount(cost.usd)}"


def _amount(usd: Decimal) -> str:
    return "<0.00001" if 0 < usd < _SMALLEST else f"{usd:,.5f}"


def remark(call: CallFinished) -> str:
    """Return what is unusual about a call: failed, cancelled, retried, cached, replayed.

    Args:
        call: the call.
    """
    remarks: list[str] = []
    if call.failure:
        status = f" {call.failure.status}" if call.failure.status else ""
        cancelled = call.failure.kind == FailureKind.STRAGGLER
        remarks.append("cancelled" if cancelled else f"failed: {call.failure.kind.value}{status}")
    if call.attempts > 1:
        remarks.append(f"{call.attempts} attempts")
    if call.cached:
        remarks.append("cached")
    if call.replayed:
        remarks.append("replayed")
    if len(call.proposals) > 1:
        remarks.append(f"{len(call.proposals)} samples")
    return ", ".join(remarks)


def problems(result: "MixtureResult") -> Iterator[str]:
    """Yield what a reader must know first: why there is no answer, or why it is degraded.

    Args:
        result: the run.

    Yields:
        Sentences; none for a complete answer.
    """
    if result.error:
        yield f"{'Broken off' if result.answer else 'No answer'}: {result.error}"
    for reason in result.degraded:
        yield f"Degraded: {reason}"


def footnotes(result: "MixtureResult") -> Iterator[str]:
    """Yield the sentences below the table.

    Args:
        result: the run.

    Yields:
        The sentences.
    """
    if result.answered_by:
        first = result.time_to_first_token
        after = "" if first is None else f", the first token after {first:.2f} s"
        yield f"Answered by {result.answered_by}{after}; {_count(result.usage.requests, 'request')}."
    details = [
        f"{number:,} {what}"
        for number, what in (
            (result.usage.reasoning_tokens, "of the output tokens were reasoning"),
            (result.usage.cached_tokens, "of the input tokens came from a provider's cache"),
        )
        if number
    ]
    if details:
        yield f"{'; '.join(details)}."
    if result.usage.estimated:
        yield "~ estimated: the provider gave no numbers."
    if result.cost.unpriced:
        yield f"? no price known for {', '.join(result.cost.unpriced)}."
    if held_up(result):
        yield "* the slowest call of its layer."


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
