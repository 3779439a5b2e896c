"""OpenAI's Python SDK: chat completions and Responses."""

from openai import OpenAI
from question import BASE, FUNCTION, PICTURE, QUESTION, WAY, Verdict, call, report, stay

ASKED = [{"role": "user", "content": QUESTION}]


def chat(client: OpenAI) -> None:
    """Ask over chat completions."""
    create = client.chat.completions.create
    whole = create(model="moa", messages=ASKED)
    streamed = create(model="moa", messages=ASKED, stream=True)
    pieces = [piece.choices[0].delta.content or "" for piece in streamed if piece.choices]
    tools = [{"type": "function", "function": FUNCTION}]
    calling = create(model="moa", messages=ASKED, tools=tools).choices[0].message
    (made,) = calling.tool_calls
    result = {"role": "tool", "tool_call_id": made.id, "content": "Sunny."}
    after = create(model="moa", messages=[*ASKED, calling, result], tools=tools)
    parsed = client.chat.completions.parse(model="moa", messages=ASKED, response_format=Verdict)
    image = {"type": "image_url", "image_url": {"url": PICTURE}}
    seen = [{"role": "user", "content": [{"type": "text", "text": QUESTION}, image]}]
    pictured = create(model="moa", messages=seen)
    report(
        whole=whole.choices[0].message.content,
        streamed="".join(pieces),
        pieces=len(pieces),
        usage=[whole.usage.prompt_tokens, whole.usage.completion_tokens],
        call=call(made.function.name, made.function.arguments, made.id),
        after_tool=after.choices[0].message.content,
        parsed=parsed.choices[0].message.parsed.model_dump(),
        pictured=pictured.choices[0].message.content,
    )


def responses(client: OpenAI) -> None:
    """Ask over Responses."""
    create = client.responses.create
    whole = create(model="moa", input=QUESTION)
    events = create(model="moa", input=QUESTION, stream=True)
    pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
    tools = [{"type": "function", "strict": False, **FUNCTION}]
    calling = create(model="moa", input=QUESTION, tools=tools)
    (made,) = [item for item in calling.output if item.type == "function_call"]
    result = {"type": "function_call_output", "call_id": made.call_id, "output": "Sunny."}
    after = create(model="moa", input=[result], tools=tools, previous_response_id=calling.id)
    parsed = client.responses.parse(model="moa", input=QUESTION, text_format=Verdict)
    image = {"type": "input_image", "image_url": PICTURE, "detail": "auto"}
    seen = [{"role": "user", "content": [{"type": "input_text", "text": QUESTION}, image]}]
    pictured = create(model="moa", input=seen)
    report(
        whole=whole.output_text,
        streamed="".join(pieces),
        pieces=len(pieces),
        usage=[whole.usage.input_tokens, whole.usage.output_tokens],
        call=call(made.name, made.arguments, made.call_id),
        after_tool=after.output_text,
        parsed=parsed.output_parsed.model_dump(),
        pictured=pictured.output_text,
    )


def leave_chat(client: OpenAI) -> None:
    """Close a stream of a chat completion after its first text."""
    with client.chat.completions.create(model="moa", messages=ASKED, stream=True) as stream:
        next(piece for piece in stream if piece.choices and piece.choices[0].delta.content)
    stay()


def leave_responses(client: OpenAI) -> None:
    """Close a stream of a response after its first text."""
    with client.responses.create(model="moa", input=QUESTION, stream=True) as stream:
        next(event for event in stream if event.type == "response.output_text.delta")
    stay()


with OpenAI(base_url=f"{BASE}/v1", api_key="none", max_retries=0) as opened:
    globals()[WAY](opened)
