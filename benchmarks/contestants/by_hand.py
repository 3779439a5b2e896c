"""What every hand-written mixture does: the paper's prompt with its references, before the question."""

from collections.abc import Sequence
from typing import Any

PROMPT = (
    "You have been provided with a set of responses from various open-source models to the latest user query. "
    "Your task is to synthesize these responses into a single, high-quality response. It is crucial to critically "
    "evaluate the information provided in these responses, recognizing that some of it may be biased or incorrect. "
    "Your response should not simply replicate the given answers but should offer a refined, accurate, and "
    "comprehensive reply to the instruction. Ensure your response is well-structured, coherent, and adheres to the "
    "highest standards of accuracy and reliability.\n\nResponses from models:"
)


def prompt(references: Sequence[str]) -> str:
    """The references as the paper's code numbers them."""
    return PROMPT + "".join(f"\n{number}. {text}" for number, text in enumerate(references, 1))


def body(model: str, question: str, references: Sequence[str]) -> dict[str, Any]:
    """A request to OpenAI's chat interface."""
    system = [{"role": "system", "content": prompt(references)}] if references else []
    return {
        "model": model,
        "messages": [*system, {"role": "user", "content": question}],
        "temperature": 0.7,
        "max_tokens": 2048,
    }
