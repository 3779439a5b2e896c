"""``moa estimate``: the calls, tokens and money that a question would take."""

from typing import Annotated

from typer import Option

from .ask import Question, read_question
from .command import Flags, command


@command
def estimate(
    models: Flags,
    question: Question = None,
    via: Annotated[
        str, Option("--via", help='"batch-api": also say what batch APIs would cost.')
    ] = "direct",
) -> None:
    """Say what a question would take: calls, tokens, money.

    No model is asked, and no key is needed.
    """
    text = read_question(question)
    from .command import say
    from .sources import find

    source = find(models)
    recipe = source.recipe(need_keys=False)
    say(f"{recipe}\nModels from {source.origin}.")
    print(recipe.estimate(text))
    if via == "batch-api":
        from .batch import at_batch_prices

        batched = at_batch_prices(recipe).estimate(text)
        print(f"cost by batch APIs {batched.least_cost} to {batched.most_cost or 'any amount'}")
