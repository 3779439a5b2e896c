"""What every client asks, and how one leaves in the middle of an answer."""

import json
import sys

from pydantic import BaseModel

QUESTION = "What is LlamaIndex?"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PICTURE = f"data:image/png;base64,{PIXEL}"
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"name": "get_weather", "description": "Looks out of the window.", "parameters": CITY}
WAY, BASE = sys.argv[1:]
"""The API to use, and the server's address."""


class Verdict(BaseModel):
    """What a model is asked to fill in."""

    winner: str
    score: int


def get_weather(city: str) -> str:
    """Looks out of the window."""
    return f"Sunny in {city}."


def call(name: str, arguments: object, number: str | None = None) -> dict[str, object]:
    """A tool call, for the report."""
    read = json.loads(arguments) if isinstance(arguments, str) else arguments
    return {"id": number, "name": name, "arguments": read}


def report(**found: object) -> None:
    """Print what a client found."""
    sys.stdout.write(f"{json.dumps(found)}\n")
    sys.stdout.flush()


def stay() -> None:
    """Report that the client has left, and let the process live until it may end."""
    report(left=True)
    sys.stdin.read()
