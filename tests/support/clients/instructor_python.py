"""instructor, which asks until an answer fits its type: whole, and while it grows."""

import instructor
from anthropic import Anthropic
from openai import OpenAI
from question import BASE, QUESTION, WAY, Verdict, report

asked = [{"role": "user", "content": QUESTION}]
if WAY == "messages":
    client = instructor.from_anthropic(Anthropic(base_url=BASE, api_key="none"))
    settings = {"model": "moa", "messages": asked, "max_tokens": 500}
else:
    client = instructor.from_openai(OpenAI(base_url=f"{BASE}/v1", api_key="none"))
    settings = {"model": "moa", "messages": asked}
parsed = client.chat.completions.create(response_model=Verdict, **settings)
*_, last = client.chat.completions.create_partial(response_model=Verdict, **settings)
report(parsed=parsed.model_dump(), streamed_parsed=last.model_dump())
