"""What a layer passes on: the selections, and their names in configuration files.

A selection is any ``async (Step) -> Selected``; see ``step.Selection`` for writing one.
"""

from typing import Any

from llama_index.packs.mixture_of_agents._checks import changed
from llama_index.packs.mixture_of_agents.errors import RecipeError
from llama_index.packs.mixture_of_agents.recipe import SELECTIONS, Selection

from .choosing import Agreed, Cluster, Diverse, Dropout, Shuffle, Take
from .judging import Gate, PeerRanking, Pick, Rank, Rate, Vote
from .merging import Analysis, Fold, Residuals

__all__ = [
    "SELECTIONS",
    "Agreed",
    "Analysis",
    "Cluster",
    "Diverse",
    "Dropout",
    "Fold",
    "Gate",
    "PeerRanking",
    "Pick",
    "Rank",
    "Rate",
    "Residuals",
    "Selection",
    "Shuffle",
    "Take",
    "Vote",
    "as_data",
]

SELECTIONS.update(
    {
        "agreed": Agreed,
        "analysis": Analysis,
        "cluster": Cluster,
        "diverse": Diverse,
        "dropout": Dropout,
        "fold": Fold,
        "gate": Gate,
        "peer_ranking": PeerRanking,
        "pick": Pick,
        "rank": Rank,
        "rate": Rate,
        "residuals": Residuals,
        "shuffle": Shuffle,
        "take": Take,
        "vote": Vote,
    }
)


def as_data(selection: Selection) -> tuple[str, dict[str, Any]]:
    """Return a selection's name and those of its settings that are not the default ones; LLMs stay objects.

    Args:
        selection: the selection.

    Raises:
        RecipeError: the selection is not one of ``SELECTIONS``.
    """
    known = [name for name, kind in SELECTIONS.items() if kind is type(selection)]
    if not known:
        raise RecipeError("select", type(selection).__name__, "has no name in selection.SELECTIONS")
    return known[0], changed(selection)
