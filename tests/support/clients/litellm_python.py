"""LiteLLM, over all three APIs."""

import litellm
from question import BASE, FUNCTION, PICTURE, QUESTION, WAY, Verdict, call, report

ASKED = [{"role": "user", "content": QUESTION}]
if WAY == "messages":
    settings = {"model": "anthropic/moa", "api_base": BASE, "api_key": "none", "max_tokens": 500}
else:
    settings = {"model": "openai/moa", "api_base": f"{BASE}/v1", "api_key": "none"}


def completions() -> None:
    """Ask with LiteLLM's completion, which it sends as chat completions or messages."""
    whole = litellm.completion(messages=ASKED, **settings)
    streamed = litellm.completion(messages=ASKED, stream=True, **settings)
    pieces = [piece.choices[0].delta.content or "" for piece in streamed if piece.choices]
    tools = [{"type": "function", "function": FUNCTION}]
    calling = litellm.completion(messages=ASKED, tools=tools, **settings).choices[0].message
    (made,) = calling.tool_calls
    result = {"role": "tool", "tool_call_id": made.id, "content": "Sunny."}
    after = litellm.completion(
        messages=[*ASKED, calling.model_dump(), result], tools=tools, **settings
    )
    parsed = litellm.completion(messages=ASKED, response_format=Verdict, **settings)
    image = {"type": "image_url", "image_url": {"url": PICTURE}}
    seen = [{"role": "user", "content": [{"type": "text", "text": QUESTION}, image]}]
    pictured = litellm.completion(messages=seen, **settings)
    report(
        whole=whole.choices[0].message.content,
        streamed="".join(pieces),
        pieces=len(pieces),
        usage=[whole.usage.prompt_tokens, whole.usage.completion_tokens],
        call=call(made.function.name, made.function.arguments, made.id),
        after_tool=after.choices[0].message.content,
        parsed=Verdict.model_validate_json(parsed.choices[0].message.content).model_dump(),
        pictured=pictured.choices[0].message.content,
    )


def responses() -> None:
    """Ask over Responses. LiteLLM cuts a whole answer into pieces itself if it does not know the model."""
    whole = litellm.responses(input=QUESTION, **settings)
    events = litellm.responses(input=QUESTION, stream=True, **settings)
    pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
    report(
        whole=whole.output_text,
        streamed="".join(pieces),
        usage=[whole.usage.input_tokens, whole.usage.output_tokens],
    )


(responses if WAY == "responses" else completions)()
