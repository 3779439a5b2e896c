"""Anthropic's SDK: messages and the count of tokens."""

from anthropic import Anthropic
from question import BASE, CITY, PIXEL, QUESTION, WAY, Verdict, call, report, stay

ASKED = [{"role": "user", "content": QUESTION}]
TOOLS = [{"name": "get_weather", "description": "Looks.", "input_schema": CITY}]
SETTINGS = {"model": "moa", "max_tokens": 500}


def messages(client: Anthropic) -> None:
    """Ask over messages."""
    create = client.messages.create
    whole = create(messages=ASKED, **SETTINGS)
    with client.messages.stream(messages=ASKED, **SETTINGS) as stream:
        pieces = list(stream.text_stream)
    calling = create(messages=ASKED, tools=TOOLS, **SETTINGS)
    (made,) = [block for block in calling.content if block.type == "tool_use"]
    result = {"type": "tool_result", "tool_use_id": made.id, "content": "Sunny."}
    turns = [
        {"role": "assistant", "content": calling.content},
        {"role": "user", "content": [result]},
    ]
    after = create(messages=[*ASKED, *turns], tools=TOOLS, **SETTINGS)
    parsed = client.messages.parse(messages=ASKED, output_format=Verdict, **SETTINGS)
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    seen = [{"type": "image", "source": source}, {"type": "text", "text": QUESTION}]
    pictured = create(messages=[{"role": "user", "content": seen}], **SETTINGS)
    report(
        whole=whole.content[0].text,
        streamed="".join(pieces),
        pieces=len(pieces),
        usage=[whole.usage.input_tokens, whole.usage.output_tokens],
        call=call(made.name, made.input, made.id),
        after_tool=after.content[0].text,
        parsed=parsed.parsed_output.model_dump(),
        pictured=pictured.content[0].text,
        counted=client.messages.count_tokens(model="moa", messages=ASKED).input_tokens,
    )


def leave_messages(client: Anthropic) -> None:
    """Close a stream after its first text."""
    with client.messages.stream(messages=ASKED, **SETTINGS) as stream:
        next(iter(stream.text_stream))
    stay()


with Anthropic(base_url=BASE, api_key="none", max_retries=0) as opened:
    globals()[WAY](opened)
