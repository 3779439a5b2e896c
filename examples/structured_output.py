"""Structured output: the proposers answer in prose, the aggregator fills in a pydantic class.

python examples/structured_output.py          with simulated models
python examples/structured_output.py --real   with OPENAI_API_KEY and MISTRAL_API_KEY
"""

from _models import providers
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.llms.mistralai import MistralAI
from llama_index.llms.openai import OpenAI
from pydantic import BaseModel

from llama_index.packs.mixture_of_agents import MixtureOfAgents


class Role(BaseModel):
    """Who plays whom."""

    actor: str
    character: str


class Film(BaseModel):
    """A film."""

    title: str
    year: int
    cast: list[Role]


FILLED = (
    '{"title": "Alien", "year": 1979, "cast": [{"actor": "Sigourney Weaver", "character": "Ripley"}, '
    '{"actor": "Ian Holm", "character": "Ash"}]}'
)
# What the simulated models say.
SCRIPT = {
    "gpt-4.1": {"reply": FILLED},
    "gpt-4.1-mini": {"reply": "Alien came out in 1979. Sigourney Weaver plays Ripley in it."},
    "mistral-small-latest": {"reply": "In Alien, Ian Holm is Ash, the science officer."},
}


def main() -> None:
    """Ask for a film as an object: whole, as it grows, and through a structured LLM."""
    llm = MixtureOfAgents(
        llm=OpenAI(model="gpt-4.1"),
        proposers=[OpenAI(model="gpt-4.1-mini"), MistralAI(model="mistral-small-latest")],
        num_layers=1,
    )
    prompt = PromptTemplate("Tell me of the film {name}.")
    film = llm.structured_predict(Film, prompt, name="Alien")
    print(f"{film.title} ({film.year})")
    for role in film.cast:
        print(f"  {role.actor} plays {role.character}")

    print("\nAs it grows:")
    for partial in llm.stream_structured_predict(Film, prompt, name="Alien"):
        print(" ", partial.model_dump())

    response = llm.as_structured_llm(Film).chat([ChatMessage("Tell me of the film Alien.")])
    print(f"\nFrom a structured LLM: {response.raw!r}")


if __name__ == "__main__":
    with providers(SCRIPT):
        main()
