"""A request may change the mixture that it asks, among the models of the server and no others."""

import json
from typing import Any

import httpx
import pytest
from llama_index.core.base.llms.types import ChatMessage

from llama_index.packs.mixture_of_agents import MixtureOfAgents, RecipeError, moa
from llama_index.packs.mixture_of_agents.server import create_app
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

QUESTION: Any = [{"role": "user", "content": "Why?"}]
MEMBERS = ("a", "b", "c", "writer")


class Served:
    """An application with a mixture of a and b, and what its models were asked."""

    def __init__(self, **settings: Any) -> None:
        self.members = {name: ScriptedLLM(f"{name} says", model=name) for name in MEMBERS}
        a, b, _, writer = self.members.values()
        self.heard: list[Any] = []
        mixture = MixtureOfAgents(llm=writer, proposers=[a, b], layers=1, **settings)
        mixture.listen(lambda run, _: self.heard.append(run.run_id))
        models = {"moa": mixture, "a": a}
        self.app = create_app(models, members=self.members)

    async def post(self, **body: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            asked = {"model": "moa", "messages": QUESTION, **body}
            return await client.post("/v1/chat/completions", json=asked)

    def asked(self) -> dict[str, int]:
        return {name: len(llm.asked) for name, llm in self.members.items() if llm.asked}


@pytest.mark.parametrize(
    ("wanted", "asked"),
    [
        ({}, {"a": 1, "b": 1, "writer": 1}),
        ({"proposers": ["c"]}, {"c": 1, "writer": 1}),
        ({"proposers": ["c", "c"], "aggregator": "b"}, {"b": 1, "c": 2}),
        ({"layers": 3}, {"a": 3, "b": 3, "writer": 1}),
        ({"proposers": ["b"], "layers": 2, "proposals": True}, {"b": 2, "writer": 1}),
        ({"fan_out": False}, {"writer": 1}),
        ({"fan_out": False, "aggregator": "c"}, {"c": 1}),
        ({"recipe": "moa_lite"}, {"a": 1, "b": 1, "writer": 1}),
        ({"recipe": "self_moa_seq", "proposers": ["c"]}, {"c": 16, "writer": 3}),
        ({"fan_out": None, "proposers": None, "layers": 1.0}, {"a": 1, "b": 1, "writer": 1}),
    ],
    ids=str,
)
async def test_a_request_chooses_models_layers_and_recipe(wanted, asked):
    served = Served()
    answer = await served.post(mixture=wanted)
    assert answer.status_code == 200, answer.text
    found = served.asked()
    if wanted.get("recipe") == "self_moa_seq":
        assert found["c"] == 16
        assert set(found) == {"c", "writer"}
    else:
        assert found == asked
    assert served.heard  # whoever listens to the served mixture hears of these runs too


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"mixture": {"proposers": ["nobody"]}}, "there is no model 'nobody' to choose"),
        ({"mixture": {"aggregator": "moa"}}, "there is no model 'moa' to choose"),
        ({"mixture": {"proposers": []}}, "mixture.proposers"),
        ({"mixture": {"proposers": ["a"] * 100}}, "mixture.proposers"),
        ({"mixture": {"layers": 100}}, "mixture.layers"),
        ({"mixture": {"layers": 0}}, "mixture.layers"),
        ({"mixture": {"recipe": "nothing"}}, "there is no recipe 'nothing'"),
        ({"mixture": {"recipe": "cascade"}}, "cascade"),
        ({"mixture": {"recipe": "self_moa"}}, "self_moa"),
        ({"mixture": {"show": "all"}}, "mixture.show"),
        ({"model": "a", "mixture": {"layers": 2}}, "the model a is not a mixture"),
    ],
    ids=str,
)
async def test_what_cannot_be_chosen_is_refused_and_nothing_is_asked(body, message):
    served = Served()
    answer = await served.post(**body)
    assert answer.status_code == 400, answer.text
    assert message in answer.json()["error"]["message"]
    assert not served.asked()


async def test_a_choice_keeps_the_policies_of_the_served_mixture():
    served = Served(deadline=50.0, temperature=0.3, max_tokens=77)
    for wanted in ({"proposers": ["c"]}, {"recipe": "moa_lite", "proposers": ["c"]}):
        await served.post(mixture=wanted)
    asked = [one.kwargs for one in served.members["c"].asked]
    assert [one["temperature"] for one in asked] == [0.3, 0.3]
    assert [one["max_tokens"] for one in asked] == [77, 77]


def pieces(answer: httpx.Response, field: str) -> list[str]:
    events = answer.text.removeprefix("data: ").strip().split("\n\ndata: ")
    deltas = [one["choices"][0]["delta"] for one in map(json.loads, events[:-1])]
    return [one[field] for one in deltas if one.get(field)]


@pytest.mark.parametrize(
    "shown", [{"mixture": {"show": "reasoning"}}, {"model": "moa:shown"}], ids=str
)
async def test_what_the_layers_do_is_shown_as_reasoning(shown):
    whole = (await Served().post(**shown)).json()
    message = whole["choices"][0]["message"]
    assert message["content"] == "writer says"
    for words in ("Layer 1: a, b", "a answered in", "a says", "b says", "writer writes the answer"):
        assert words in message["reasoning_content"]
    streamed = await Served().post(stream=True, **shown)
    assert "".join(pieces(streamed, "content")) == "writer says"
    thoughts = pieces(streamed, "reasoning_content")
    assert len(thoughts) == 4
    assert [("a says" in one, "b says" in one) for one in thoughts] == [
        (False, False), (True, False), (False, True), (False, False),
    ]  # fmt: skip


async def test_without_being_asked_for_nothing_is_shown():
    served = Served()
    for stream in (False, True):
        assert "reasoning_content" not in (await served.post(stream=stream)).text


async def test_a_member_that_failed_is_shown_without_its_error():
    served = Served()
    served.members["a"]._replies[:] = [ValueError("a secret")]
    message = (await served.post(model="moa:shown")).json()["choices"][0]["message"]
    assert "a failed after" in message["reasoning_content"]
    assert "secret" not in message["reasoning_content"]


async def test_a_single_model_has_nothing_to_show():
    answer = await Served().post(model="a:shown")
    assert answer.json()["choices"][0]["message"]["content"] == "a says"


def test_a_recipe_that_never_fans_out_asks_its_aggregator_alone_and_its_estimate_says_so():
    members = [ScriptedLLM("a"), ScriptedLLM("b")]
    writer = ScriptedLLM("alone")
    mixture = MixtureOfAgents(llm=writer, proposers=members, fan_out="never")
    assert mixture.chat([ChatMessage(role="user", content="Why?")]).message.content == "alone"
    assert len(mixture.recipe.estimate("Why?").calls) == 1
    assert not any(member.asked for member in members)
    (asked,) = writer.asked
    assert [message.content for message in asked.messages] == ["Why?"]


def test_without_an_aggregator_a_recipe_must_fan_out():
    with pytest.raises(RecipeError, match="without an aggregator"):
        moa([ScriptedLLM()], None, layers=1, fan_out="never")
