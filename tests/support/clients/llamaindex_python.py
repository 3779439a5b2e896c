"""LlamaIndex's OpenAILike, and its Anthropic, which takes names of Claude models alone."""

from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.tools import FunctionTool
from question import BASE, PICTURE, QUESTION, WAY, Verdict, call, get_weather, report

if WAY == "messages":
    from llama_index.llms.anthropic import Anthropic

    llm = Anthropic(model="claude-sonnet-5", base_url=BASE, api_key="none")
else:
    from llama_index.llms.openai_like import OpenAILike

    llm = OpenAILike(
        model="moa",
        api_base=f"{BASE}/v1",
        api_key="none",
        is_chat_model=True,
        is_function_calling_model=True,
    )

asked = ChatMessage(role="user", content=QUESTION)
whole = llm.chat([asked])
pieces = [piece.delta or "" for piece in llm.stream_chat([asked])]
tool = FunctionTool.from_defaults(get_weather)
calling = llm.chat_with_tools([tool], chat_history=[asked])
(made,) = llm.get_tool_calls_from_response(calling)
result = ChatMessage(
    role="tool", content="Sunny.", additional_kwargs={"tool_call_id": made.tool_id}
)
after = llm.chat_with_tools([tool], chat_history=[asked, calling.message, result])
parsed = llm.as_structured_llm(Verdict).chat([asked]).raw
seen = ChatMessage(role="user", blocks=[TextBlock(text=QUESTION), ImageBlock(url=PICTURE)])
report(
    whole=whole.message.content,
    streamed="".join(pieces),
    pieces=len(pieces),
    call=call(made.tool_name, made.tool_kwargs, made.tool_id),
    after_tool=after.message.content,
    parsed=parsed.model_dump(),
    pictured=llm.chat([seen]).message.content,
)
