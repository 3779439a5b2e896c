"""mixture-llm over the OpenAI SDK, as its documentation shows it."""

# pyright: reportCallIssue=false
# This file has the name of the library that it imports, and pyright finds this one first.

from typing import Any

from mixture_llm import Aggregate, Propose, Synthesize, run  # type: ignore[import-not-found]
from openai import AsyncOpenAI


def make(setup: Any) -> dict[str, Any]:
    """Its pipeline of the paper."""
    openai = AsyncOpenAI(api_key=setup.key, base_url=f"{setup.base}/v1")
    agents = list(setup.proposers)
    pipeline = [
        Propose(agents),
        *[Synthesize(agents)] * (setup.layers - 1),
        Aggregate(setup.aggregator),
    ]

    async def client(
        *, model: str, messages: Any, temp: float, max_tokens: int
    ) -> tuple[str, int, int]:
        answer = await openai.chat.completions.create(
            model=model, messages=messages, temperature=temp, max_tokens=max_tokens
        )
        used = answer.usage
        assert used
        return answer.choices[0].message.content or "", used.prompt_tokens, used.completion_tokens

    async def ask(question: str) -> str:
        answer, history = await run(pipeline, question, client)
        failed = [
            call["error"] for step in history for call in step["llm_calls"] if "error" in call
        ]
        if failed:
            raise RuntimeError(failed[0])  # it goes on without the calls that failed
        return answer

    return {"run": ask}
