"""Models of inspect-ai, over all three APIs."""

import asyncio

from inspect_ai.model import (
    ChatMessageTool,
    ChatMessageUser,
    ContentImage,
    ContentText,
    GenerateConfig,
    get_model,
)
from inspect_ai.tool import ToolInfo, ToolParams
from inspect_ai.util import JSONSchema
from question import BASE, PICTURE, QUESTION, WAY, call, report

NAMES = {"chat": "openai-api/moa/moa", "responses": "openai/moa", "messages": "anthropic/moa"}
base_url = BASE if WAY == "messages" else f"{BASE}/v1"
more = {"responses_api": True} if WAY == "responses" else {}
city = ToolParams(
    properties={"city": JSONSchema(type="string", description="Where.")}, required=["city"]
)
tool = ToolInfo(name="get_weather", description="Looks out of the window.", parameters=city)


async def main() -> None:
    """Generate without and with a tool."""
    config = GenerateConfig(max_tokens=500)
    model = get_model(NAMES[WAY], base_url=base_url, api_key="none", config=config, **more)
    whole = await model.generate(QUESTION)
    calling = await model.generate(QUESTION, tools=[tool])
    (made,) = calling.message.tool_calls
    result = ChatMessageTool(content="Sunny.", tool_call_id=made.id, function=made.function)
    asked = ChatMessageUser(content=QUESTION)
    after = await model.generate([asked, calling.message, result], tools=[tool])
    seen = [ContentText(text=QUESTION), ContentImage(image=PICTURE)]
    pictured = await model.generate([ChatMessageUser(content=seen)])
    report(
        whole=whole.completion,
        usage=[whole.usage.input_tokens, whole.usage.output_tokens],
        call=call(made.function, made.arguments, made.id),
        after_tool=after.completion,
        pictured=pictured.completion,
    )


asyncio.run(main())
