"""Agents of pydantic-ai, over all three APIs."""

import asyncio
import base64

from pydantic_ai import Agent, BinaryContent
from pydantic_ai.messages import ToolCallPart
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
from question import BASE, PIXEL, QUESTION, WAY, Verdict, call, get_weather, report

if WAY == "messages":
    model = AnthropicModel("moa", provider=AnthropicProvider(base_url=BASE, api_key="none"))
else:
    kind = OpenAIChatModel if WAY == "chat" else OpenAIResponsesModel
    model = kind("moa", provider=OpenAIProvider(base_url=f"{BASE}/v1", api_key="none"))


async def main() -> None:
    """Run agents without and with a tool."""
    agent = Agent(model)
    whole = await agent.run(QUESTION)
    async with agent.run_stream(QUESTION) as stream:
        pieces = [piece async for piece in stream.stream_text(delta=True, debounce_by=None)]
    after = await Agent(model, tools=[get_weather]).run(QUESTION)
    parts = [part for message in after.all_messages() for part in message.parts]
    (made,) = [part for part in parts if isinstance(part, ToolCallPart)]
    parsed = await Agent(model, output_type=Verdict).run(QUESTION)
    pictured = await agent.run(
        [QUESTION, BinaryContent(data=base64.b64decode(PIXEL), media_type="image/png")]
    )
    report(
        whole=whole.output,
        streamed="".join(pieces),
        pieces=len(pieces),
        usage=[whole.usage.input_tokens, whole.usage.output_tokens],
        call=call(made.tool_name, made.args, made.tool_call_id),
        after_tool=after.output,
        parsed=parsed.output.model_dump(),
        pictured=pictured.output,
    )


asyncio.run(main())
