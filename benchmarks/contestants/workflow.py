"""The same mixture as steps of a LlamaIndex workflow."""

from typing import Any

from contestants.by_hand import prompt
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.workflow import Context, Event, StartEvent, StopEvent, Workflow, step
from llama_index.llms.openai import OpenAI


class Ask(Event):
    """A proposer is to answer."""

    number: int
    llm: int
    messages: list[ChatMessage]


class Said(Event):
    """It has."""

    number: int
    llm: int
    text: str


class Mixture(Workflow):
    """A step asks a proposer, another one gathers a layer."""

    llms: list[OpenAI]
    layers: int

    @step
    async def begin(self, ctx: Context, event: StartEvent) -> Ask | None:
        self.ask(ctx, 1, [ChatMessage(role="user", content=event.question)])

    @step(num_workers=64)
    async def propose(self, event: Ask) -> Said:
        answer = await self.llms[event.llm].achat(event.messages, temperature=0.7, max_tokens=2048)
        return Said(number=event.number, llm=event.llm, text=answer.message.content or "")

    @step
    async def gather(self, ctx: Context, event: Said) -> Ask | StopEvent | None:
        said = ctx.collect_events(event, [Said] * (len(self.llms) - 1))
        if said is None:
            return None
        references = [one.text for one in sorted(said, key=lambda one: one.llm)]
        question: str = await ctx.store.get("question")
        messages = [
            ChatMessage(role="system", content=prompt(references)),
            ChatMessage(role="user", content=question),
        ]
        if event.number < self.layers:
            self.ask(ctx, event.number + 1, messages)
            return None
        answer = await self.llms[-1].achat(messages, temperature=0.7, max_tokens=2048)
        return StopEvent(result=answer.message.content)

    def ask(self, ctx: Context, number: int, messages: list[ChatMessage]) -> None:
        for llm in range(len(self.llms) - 1):
            ctx.send_event(Ask(number=number, llm=llm, messages=messages))


def make(setup: Any) -> dict[str, Any]:
    """One workflow, run again and again."""
    workflow = Mixture(timeout=None)
    names = (*setup.proposers, setup.aggregator)
    workflow.llms = [OpenAI(name, api_key=setup.key, api_base=f"{setup.base}/v1") for name in names]
    workflow.layers = setup.layers

    async def run(question: str) -> str:
        context = Context(workflow)
        await context.store.set("question", question)
        return await workflow.run(ctx=context, question=question)

    return {"run": run}
