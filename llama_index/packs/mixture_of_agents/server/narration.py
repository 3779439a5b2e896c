"""What the layers of a mixture do, in words: shown to a client as the reasoning before an answer."""

from llama_index.packs.mixture_of_agents.events import (
    CallFinished,
    CallStarted,
    Degraded,
    Event,
    LayerStarted,
    RunStarted,
)


def narrated(_: RunStarted, event: Event) -> str:
    """An event in words, with a blank line after it; "" for an event that a reader need not see.

    Errors are named by their kind alone.
    """
    if isinstance(event, LayerStarted):
        words = f"Layer {event.layer}: {', '.join(event.agents)}"
    elif isinstance(event, CallStarted) and event.role == "aggregator":
        words = f"{event.agent} writes the answer."
    elif isinstance(event, CallFinished) and event.role != "aggregator":
        words = _outcome(event)
    elif isinstance(event, Degraded):
        words = f"Degraded: {event.reason}"
    else:
        return ""
    return f"{words}\n\n"


def _outcome(call: CallFinished) -> str:
    if call.failure:
        return f"{call.agent} failed after {call.elapsed:.1f} s: {call.failure.kind.value}"
    verb = "judged" if call.role == "judge" else "answered"
    texts = "\n\n".join(proposal.text for proposal in call.proposals)
    return f"{call.agent} {verb} in {call.elapsed:.1f} s:\n\n{texts}"
