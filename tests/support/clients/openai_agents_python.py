"""Agents of the OpenAI Agents SDK, over chat completions and Responses."""

import asyncio

from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI
from question import BASE, PICTURE, QUESTION, WAY, Verdict, call, get_weather, report

set_tracing_disabled(True)
kind = OpenAIChatCompletionsModel if WAY == "chat" else OpenAIResponsesModel
model = kind("moa", AsyncOpenAI(base_url=f"{BASE}/v1", api_key="none"))


async def main() -> None:
    """Run agents without and with a tool."""
    agent = Agent("assistant", model=model)
    whole = await Runner.run(agent, QUESTION)
    events = Runner.run_streamed(agent, QUESTION).stream_events()
    raw = [event.data async for event in events if event.type == "raw_response_event"]
    pieces = [one.delta for one in raw if one.type == "response.output_text.delta"]
    with_tool = Agent("looker", model=model, tools=[function_tool(get_weather)])
    after = await Runner.run(with_tool, QUESTION)
    (made,) = [item.raw_item for item in after.new_items if item.type == "tool_call_item"]
    parsed = await Runner.run(Agent("judge", model=model, output_type=Verdict), QUESTION)
    image = {"type": "input_image", "image_url": PICTURE, "detail": "auto"}
    seen = [{"role": "user", "content": [{"type": "input_text", "text": QUESTION}, image]}]
    pictured = await Runner.run(agent, seen)
    usage = whole.context_wrapper.usage
    report(
        whole=whole.final_output,
        streamed="".join(pieces),
        pieces=len(pieces),
        usage=[usage.input_tokens, usage.output_tokens],
        call=call(made.name, made.arguments, made.call_id),
        after_tool=after.final_output,
        parsed=parsed.final_output.model_dump(),
        pictured=pictured.final_output,
    )


asyncio.run(main())
