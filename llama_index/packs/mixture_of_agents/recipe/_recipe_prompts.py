"""The prompts of a recipe by name, to look at and to replace. Plain texts: braces mean nothing in them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llama_index.packs.mixture_of_agents._checks import require

from ._recipe import Recipe
from ._step import Selection, name_of

AGGREGATE = "aggregate_and_synthesize"
"""The name of the prompt that carries the references."""


def prompts_of(recipe: Recipe) -> dict[str, str]:
    """Return a recipe's prompts by name: the aggregate-and-synthesize prompt, and that of each selection that has
    one.

    A selection's prompt has the selection's name in configuration files; the second different one of a name has a
    number behind it, and so on.

    Args:
        recipe: The recipe.
    """
    found = {AGGREGATE: recipe.prompt}
    for layer in recipe.layers:
        for selection in layer.select:
            name, prompt = _name(selection, found), getattr(selection, "prompt", None)
            if isinstance(prompt, str):
                found[name] = prompt
    return found


def with_prompts(recipe: Recipe, prompts: Mapping[str, str]) -> Recipe:
    """Return the recipe with other prompts; those that are not named stay.

    Args:
        recipe: The recipe.
        prompts: The new prompts, by the names of ``prompts_of``.

    Raises:
        RecipeError: it has no prompt of a name.
    """
    known = prompts_of(recipe)
    for name in prompts:
        require(name in known, "prompts", name, f"is not one of its prompts: {', '.join(known)}")

    def changed(selection: Selection) -> Selection:
        name = _name(selection, known)
        if name not in prompts:
            return selection
        one: Any = selection
        return replace(one, prompt=prompts[name])

    layers = [
        replace(layer, select=tuple(changed(selection) for selection in layer.select))
        for layer in recipe.layers
    ]
    prompt = prompts.get(AGGREGATE, recipe.prompt)
    return replace(recipe, layers=tuple(layers), prompt=prompt)


def _name(selection: Selection, known: Mapping[str, str]) -> str:
    """The name of a selection's prompt, known or new."""
    own, prompt = name_of(selection), getattr(selection, "prompt", None)
    name, number = own, 1
    while name in known and known[name] != prompt:
        number += 1
        name = f"{own}_{number}"
    return name
