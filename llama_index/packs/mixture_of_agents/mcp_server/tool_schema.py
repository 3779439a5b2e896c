"""What the tools take and return, in the form that their clients see."""

from collections.abc import Mapping
from typing import Annotated, Any

from mcp.types import Tool, ToolAnnotations
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents

from .cost_bound import bound_of

Question = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class NoArguments(BaseModel):
    """What a tool without arguments takes."""

    model_config = ConfigDict(extra="forbid")


class EstimateArguments(NoArguments):
    """What ``estimate`` takes."""

    question: Question = Field(
        description="The question with all that is needed to answer it: the models see nothing else."
    )
    mixture: str = Field("", description="The name of the mixture.")


class AskArguments(EstimateArguments):
    """What ``ask`` takes."""

    proposals: bool = Field(
        False, description="Return the answers that the final answer was written from, too."
    )


class ProposalShown(BaseModel):
    """One proposer's answer."""

    layer: int
    agent: str
    model: str
    text: str


class AskOutput(BaseModel):
    """What ``ask`` returns."""

    answer: str
    mixture: str
    answered_by: str = Field(description="Who wrote the answer.")
    degraded: list[str] = Field(description="Why the answer is less than was asked for.")
    seconds: float
    tokens: int = Field(description="Tokens sent and received by all models.")
    cost: str = Field(description='US dollars in words; "unknown" where a price is not known.')
    usd: float | None = Field(description="US dollars; null where a price is not known.")
    proposals: list[ProposalShown] = Field(description="Empty unless they were asked for.")


class EstimateOutput(BaseModel):
    """What ``estimate`` returns."""

    mixture: str
    calls: str
    input_tokens: str
    output_tokens: str
    least_cost: str
    most_cost: str
    bound: str = Field(description="What one question may cost.")


class MixtureShown(BaseModel):
    """One mixture."""

    name: str
    recipe: str = Field(description="Its layers and models, in words.")
    bound: str = Field(description="What one question may cost.")


class ListOutput(BaseModel):
    """What ``list_mixtures`` returns."""

    mixtures: list[MixtureShown]


def tools_for(mixtures: Mapping[str, MixtureOfAgents]) -> list[Tool]:
    """The tools, with descriptions that tell the mixtures and what they may cost.

    Args:
        mixtures: the mixtures by their names; the first one is the default.
    """
    bounds = "; ".join(f"{name}: {bound_of(one.recipe)}" for name, one in mixtures.items())
    free = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    return [
        Tool(
            name="ask",
            description="Ask several language models one question at once; one of them writes a single answer from"
            " theirs. It takes longer and costs more than one model, so ask what a second opinion is worth for. Cost"
            f" of one question, by mixture: {bounds}. Where the bound leaves no room for all models, fewer are asked"
            " and the answer says that it is degraded, or the tool fails and asks none.",
            input_schema=_schema(AskArguments, mixtures),
            output_schema=AskOutput.model_json_schema(),
            annotations=ToolAnnotations(destructive_hint=False, open_world_hint=True),
        ),
        Tool(
            name="estimate",
            description="Say what a question would take: calls, tokens, US dollars. No model is asked.",
            input_schema=_schema(EstimateArguments, mixtures),
            output_schema=EstimateOutput.model_json_schema(),
            annotations=free,
        ),
        Tool(
            name="list_mixtures",
            description="List the mixtures that can be asked, with their models and what a question may cost.",
            input_schema=NoArguments.model_json_schema(),
            output_schema=ListOutput.model_json_schema(),
            annotations=free,
        ),
    ]


def _schema(arguments: type[BaseModel], mixtures: Mapping[str, MixtureOfAgents]) -> dict[str, Any]:
    """The schema of a tool's arguments, in which ``mixture`` is one of those that there are."""
    schema = arguments.model_json_schema()
    names = list(mixtures)
    schema["properties"]["mixture"] |= {"enum": names, "default": names[0]}
    return schema
