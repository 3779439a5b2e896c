"""LangChain's ChatOpenAI, over chat completions and Responses, and its ChatAnthropic."""

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from question import BASE, PICTURE, PIXEL, QUESTION, WAY, Verdict, call, get_weather, report

if WAY == "messages":
    llm = ChatAnthropic(model="moa", base_url=BASE, api_key="none", max_tokens=500)
    image = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": PIXEL},
    }
else:
    responses = WAY == "responses"
    llm = ChatOpenAI(
        model="moa", base_url=f"{BASE}/v1", api_key="none", use_responses_api=responses
    )
    image = {"type": "image_url", "image_url": {"url": PICTURE}}

whole = llm.invoke(QUESTION)
pieces = [piece.text for piece in llm.stream(QUESTION)]
with_tools = llm.bind_tools([get_weather])
calling = with_tools.invoke(QUESTION)
(made,) = calling.tool_calls
asked = HumanMessage(QUESTION)
after = with_tools.invoke([asked, calling, ToolMessage("Sunny.", tool_call_id=made["id"])])
parsed = llm.with_structured_output(Verdict).invoke(QUESTION)
pictured = llm.invoke([HumanMessage([{"type": "text", "text": QUESTION}, image])])
report(
    whole=whole.text,
    streamed="".join(pieces),
    pieces=len(pieces),
    usage=[whole.usage_metadata["input_tokens"], whole.usage_metadata["output_tokens"]],
    call=call(made["name"], made["args"], made["id"]),
    after_tool=after.text,
    parsed=parsed.model_dump(),
    pictured=pictured.text,
)
