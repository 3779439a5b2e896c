"""A mixture's answers to a conversation, shown as they come."""

from collections.abc import Callable, Sequence
from contextlib import aclosing

from llama_index.core.base.llms.types import ChatMessage

from llama_index.packs.mixture_of_agents.calls import Caller
from llama_index.packs.mixture_of_agents.events import AnswerDelta
from llama_index.packs.mixture_of_agents.recipe import Recipe
from llama_index.packs.mixture_of_agents.result import MixtureResult
from llama_index.packs.mixture_of_agents.runner import Finished, Happening, Job

from .screen import Screen
from .writer import Writer


class Mixture:
    """A recipe that answers one conversation after the other; what its calls taught it stays."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._caller = Caller(recipe)

    async def answer(
        self,
        messages: Sequence[ChatMessage],
        screen: Screen,
        hear: Callable[[str], object] = lambda _: None,
        *,
        write: bool = True,
    ) -> MixtureResult:
        """Ask; the answer's pieces go to standard output as they come.

        Args:
            messages: the conversation.
            screen: where everything else is shown.
            hear: told each piece of the answer.
            write: whether to write the answer.

        Raises:
            RunError: there is no answer.
        """
        job = Job(self.recipe, self._caller, messages, stream=True)
        with screen, Writer() as writer:
            async with aclosing(Happening(job)) as happening:
                async for event in happening:
                    if isinstance(event, Finished):
                        return event.result
                    if isinstance(event, AnswerDelta) and event.text:
                        hear(event.text)
                        if write:
                            screen.clear()
                            writer.write(event.text)
                    else:
                        screen.show(event)
        raise AssertionError("unreachable: a run finishes or raises")
