"""What to do about a run that gave no answer."""

from llama_index.packs.mixture_of_agents.errors import RunError
from llama_index.packs.mixture_of_agents.failures import FailureKind

_ADVICE = {
    FailureKind.AUTHENTICATION: "Is the key right? moa models shows which one is used; moa models --check tries it.",
    FailureKind.CONNECTION: "Is the server running, and its address right? moa models shows where it is looked for.",
    FailureKind.NOT_FOUND: "Is the model's name right? The server does not know it.",
    FailureKind.CONTEXT_WINDOW: "The question is longer than the model can take.",
    FailureKind.RATE_LIMITED: "The provider wants fewer requests: limits.in_flight in moa.toml bounds them.",
    FailureKind.TIMEOUT: "More time: --deadline SECONDS, or call.timeout in moa.toml.",
}


def explain(error: RunError) -> str:
    """The error with what to do about it."""
    kinds = dict.fromkeys(failure.kind for failure in error.failures)
    advice = [_ADVICE[kind] for kind in kinds if kind in _ADVICE]
    return "\n".join([f"No answer: {error}", *advice[:2]])
