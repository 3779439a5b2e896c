"""A bound on what one question may cost. Kept apart from the tools, which tell the bound that a recipe has."""

from dataclasses import replace
from decimal import Decimal

from llama_index.packs.mixture_of_agents.policies import Budget
from llama_index.packs.mixture_of_agents.pricing import dollars
from llama_index.packs.mixture_of_agents.recipe import Recipe

DEFAULT_USD = 0.50
"""US dollars that one question may cost, unless the user says otherwise."""


def bounded(recipe: Recipe, usd: float) -> Recipe:
    """The same recipe with a budget for each question.

    Args:
        recipe: the recipe. If it has a lower budget of its own, that one stays.
        usd: US dollars.

    Returns:
        The recipe.

    Raises:
        RecipeError: the price of a model is not known, or the budget is not positive.
    """
    own = recipe.budget or Budget()
    least = usd if own.usd is None else min(usd, own.usd)
    return replace(recipe, budget=replace(own, usd=least))


def bound_of(recipe: Recipe) -> str:
    """The bound on the cost of one question to a recipe, in words."""
    if recipe.budget is None or recipe.budget.usd is None:
        return "no bound on its cost"
    return f"at most {dollars(Decimal(str(recipe.budget.usd)))}"
