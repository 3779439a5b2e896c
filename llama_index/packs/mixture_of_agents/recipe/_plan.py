"""A recipe as a short plan to read, a line for each part: no prompts, no keys."""

from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any

from llama_index.packs.mixture_of_agents._checks import changed

from ._agents import Agent, Proposer
from ._step import Selection, name_of

if TYPE_CHECKING:
    from ._recipe import Layer, Recipe

_ALWAYS = ("temperature", "max_tokens", "deadline")
_SHOWN_ELSEWHERE = ("layers", "aggregator", "fallbacks", "name", "prices")
_SECONDS = ("deadline", "grace", "timeout", "backoff", "max_wait", "hedge_after", "cooldown")
_NOT_SHOWN = ("prompt", "system_prompt", "kwargs")


def plan(recipe: "Recipe") -> str:
    """The plan of a recipe."""
    lines = [f"{recipe.name}: {recipe.estimate().number_of_calls}"]
    for number, layer in enumerate(recipe.layers, 1):
        same = number > 1 and layer == recipe.layers[number - 2]
        lines += [f"layer {number}: {'the same' if same else _proposers(layer)}"]
        lines += [] if same else [f"  then {_selection(selection)}" for selection in layer.select]
    return "\n".join([*lines, _answer(recipe), _settings_of(recipe)])


def _proposers(layer: "Layer") -> str:
    own = _changed(layer, but=("proposers", "select"))
    return "; ".join([", ".join(map(_agent, layer.proposers)), *own])


def _agent(agent: Agent) -> str:
    times = f" x{agent.samples}" if isinstance(agent, Proposer) and agent.samples > 1 else ""
    model = [] if agent.name == agent.model else [agent.model]
    own = [*model, *_changed(agent, but=("llm", "name", "samples"))]
    return f"{agent.name}{times}{_in_brackets(own)}"


def _selection(selection: Selection) -> str:
    name = name_of(selection)
    values = [] if not is_dataclass(selection) else _changed(selection, always=("k", "window"))
    return f"{name}{_in_brackets(values)}"


def _answer(recipe: "Recipe") -> str:
    if recipe.aggregator is None:
        return "answer: the first reference of the last layer"
    return f"answer: {', or else '.join(map(_agent, (recipe.aggregator, *recipe.fallbacks)))}"


def _settings_of(recipe: "Recipe") -> str:
    always = [_setting(name, getattr(recipe, name)) for name in _ALWAYS]
    return f"settings: {', '.join([*always, *_changed(recipe, but=(*_SHOWN_ELSEWHERE, *_ALWAYS))])}"


def _changed(thing: Any, but: tuple[str, ...] = (), always: tuple[str, ...] = ()) -> list[str]:
    """The settings that differ from their defaults. Of prompts and further parameters, only that there are any."""
    return [_setting(name, value) for name, value in changed(thing, but, always).items()]


def _setting(name: str, value: Any) -> str:
    unit = " s" if name in _SECONDS and isinstance(value, (int, float)) else ""
    return f"own {name}" if name in _NOT_SHOWN else f"{name} {_value(value)}{unit}"


def _value(value: Any) -> str:
    if isinstance(value, Agent):
        return _agent(value)
    if is_dataclass(value):
        return f"({', '.join(_changed(value))})"
    if value is None or isinstance(value, bool):
        return "yes" if value else "none" if value is None else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if isinstance(value, (int, str)) else type(value).__name__


def _in_brackets(parts: list[str]) -> str:
    return f" ({', '.join(parts)})" if parts else ""
