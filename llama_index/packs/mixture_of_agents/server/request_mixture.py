"""The mixture that a request wants in place of the served one: other models, another recipe, or no proposers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from inspect import signature
from typing import Any

from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents.errors import RecipeError
from llama_index.packs.mixture_of_agents.llm import MixtureOfAgents
from llama_index.packs.mixture_of_agents.policies import Limits
from llama_index.packs.mixture_of_agents.presets import PRESETS

from .chat_schema import MixtureOptions
from .error_bodies import Refused, invalid
from .served_model import Model

_CHOICES = ("proposers", "aggregator", "layers", "recipe", "fan_out")
_KEPT = (
    "name", "temperature", "max_tokens", "prompt", "placement", "fence", "shuffle", "fan_out", "call", "deadline",
    "reserve", "budget", "limits", "prices", "seed",
)  # fmt: skip
"""What a recipe that a request names takes over from the served one."""
_REMEMBERED = 64


class Pool:
    """The models that requests may choose from, and the mixtures that they have made so far.

    Args:
        llms: the models by their names.
        limits: the limits of all mixtures. They hold for chosen models that those of the served mixture do not name.
    """

    def __init__(self, llms: Mapping[str, LLM], limits: Sequence[Limits] = ()) -> None:
        self._llms, self._limits = dict(llms), limits
        self._made: dict[str, Model] = {}

    def model(self, served: Model, wanted: MixtureOptions | None) -> Model:
        """The model to ask: the served one, or a mixture made of it as the request wants.

        Raises:
            Refused: The request chooses what is not there, or what is not valid.
        """
        chosen = wanted.model_dump(include=set(_CHOICES), exclude_none=True) if wanted else {}
        if not chosen:
            return served
        key = repr((served.name, sorted(chosen.items())))
        if key not in self._made:
            if len(self._made) >= _REMEMBERED:
                del self._made[next(iter(self._made))]
            self._made[key] = self._make(served, **chosen)
        return self._made[key]

    def _make(
        self,
        served: Model,
        proposers: Sequence[str] = (),
        aggregator: str | None = None,
        layers: int | None = None,
        recipe: str | None = None,
        fan_out: bool = True,
    ) -> Model:
        if not isinstance(served.llm, MixtureOfAgents):
            raise Refused(invalid(f"the model {served.name} is not a mixture", "mixture"))
        llms = tuple(
            self._llm(name, f"mixture.proposers[{place}]") for place, name in enumerate(proposers)
        )
        writer = self._llm(aggregator, "mixture.aggregator") if aggregator else None
        try:
            made = replace(served.llm.recipe, limits=Limits())  # they may not fit the new models
            if recipe:
                made = _of_preset(made, recipe, llms, writer, layers)
            else:
                made = _changed(made, llms, writer, layers)
            made = made if fan_out else replace(made, fan_out="never")
            made = made.limited_by(served.llm.recipe.limits, *self._limits)
        except RecipeError as error:
            raise Refused(invalid(str(error), "mixture")) from None
        return Model(served.name, served.llm.with_recipe(made))

    def _llm(self, name: str, place: str) -> LLM:
        if name not in self._llms:
            there = ", ".join(self._llms) or "none"
            raise Refused(invalid(f"there is no model {name!r} to choose; there is {there}", place))
        return self._llms[name]


def _changed(recipe: Any, proposers: Sequence[LLM], writer: LLM | None, layers: int | None) -> Any:
    """The recipe with other proposers in each layer, another aggregator, or another number of layers."""
    several = recipe.layers
    if layers:
        several = (*several, *(several[-1:] * layers))[:layers]
    if proposers:
        several = tuple(
            replace(layer, proposers=proposers, quorum=min(layer.quorum, len(proposers)))
            for layer in several
        )
    return replace(recipe, layers=several, aggregator=writer or recipe.aggregator)


def _of_preset(
    recipe: Any, name: str, proposers: Sequence[LLM], writer: LLM | None, layers: int | None
) -> Any:
    """A preset's recipe, with what the request does not choose taken from the served recipe."""
    known = {one: signature(make).parameters for one, make in PRESETS.items()}
    choices = [one for one, parameters in known.items() if "mixture" not in parameters]
    if name not in choices:
        problem = f"there is no recipe {name!r} to choose; there is {', '.join(choices)}"
        raise Refused(invalid(problem, "mixture.recipe"))
    aggregator = recipe.aggregator
    judge = writer or (aggregator and aggregator.llm)
    given: dict[str, Any] = {"aggregator": writer or aggregator, "judge": judge, "layers": layers}
    parts = {one: given[one] for one in given if one in known[name] and given[one] is not None}
    kept = {one: getattr(recipe, one) for one in _KEPT}
    return PRESETS[name](proposers=list(proposers or recipe.layers[0].proposers), **parts, **kept)
