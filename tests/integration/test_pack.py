"""The pack over the wire: real OpenAI and MistralAI classes against the simulated providers."""

import asyncio
import copy
import logging
import re
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms.llm import LLM
from llama_index.llms.openai import OpenAI

from llama_index.packs.mixture_of_agents import (
    Aggregator,
    AggregatorFailed,
    Layer,
    MixtureOfAgents,
    MixtureOfAgentsPack,
    Proposer,
    QuorumNotMet,
    Recipe,
    RecipeError,
    RunError,
    moa,
)
from llama_index.packs.mixture_of_agents._messages.prompts import AGGREGATE_AND_SYNTHESIZE
from llama_index.packs.mixture_of_agents.cli.command import Flags
from llama_index.packs.mixture_of_agents.cli.sources import find
from llama_index.packs.mixture_of_agents.config import load, loads
from llama_index.packs.mixture_of_agents.errors import FailureKind
from llama_index.packs.mixture_of_agents.policies import CallPolicy
from llama_index.packs.mixture_of_agents.presets import (
    best_of_n,
    cascade,
    council,
    fusion,
    rank,
    self_moa,
    self_moa_seq,
)
from llama_index.packs.mixture_of_agents.recipe import Agent
from llama_index.packs.mixture_of_agents.recipe._recipe import DEFAULT_LAYERS
from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders, failure
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

KEYS = ("OPENAI_API_KEY", "MISTRAL_API_KEY")
PROPOSERS = ("p1", "p2", "p3", "p4", "p5", "p6")


def members(providers: SimulatedProviders, *names: str) -> list[LLM]:
    """Real LLM objects, OpenAI's and Mistral's in turn; MistralAI refuses names it does not know."""
    openai = ("gpt-4.1-mini", "gpt-4.1-nano", "gpt-4o", "gpt-4o-mini", "gpt-4-turbo")
    mistral = ("mistral-small-latest", "mistral-medium-latest")
    return [
        providers.mistral(name) if name in mistral else providers.openai(name)
        for name in (names or (*openai[:4], *mistral))
    ]


def reply_with_own_name(providers: SimulatedProviders, llms: list[LLM]) -> list[str]:
    names = [llm.metadata.model_name for llm in llms]
    for name in names:
        providers.configure(name, reply=f"I am {name}")
    return names


def test_the_example_of_the_readme_answers(providers: SimulatedProviders) -> None:
    pack = MixtureOfAgentsPack(
        llm=providers.openai("gpt-4.1"),
        reference_llm=[providers.openai("gpt-4.1-mini"), providers.mistral("mistral-small-latest")],
    )
    answer = pack.run("What is a generator?")
    assert isinstance(answer, str)
    assert answer
    assert not answer.startswith("assistant:")
    assert providers.counts().arrived == 2 * 3 + 1


def test_the_aggregator_sees_every_proposal_of_the_last_layer_numbered_and_in_order(
    providers: SimulatedProviders,
) -> None:
    proposers = members(providers)
    names = reply_with_own_name(providers, proposers)
    providers.configure(names[0], reply="I am slow", latency=0.2)
    providers.configure("gpt-4.1", reply="the final answer")
    pack = MixtureOfAgentsPack(providers.openai("gpt-4.1"), proposers, num_layers=2)
    assert pack.run("Who are you?") == "the final answer"

    (request,) = providers.log("gpt-4.1")
    expected = (
        AGGREGATE_AND_SYNTHESIZE
        + "\n1. I am slow"
        + "".join(f"\n{number}. I am {name}" for number, name in enumerate(names[1:], 2))
    )
    assert request.body["messages"] == [
        {"role": "system", "content": expected},
        {"role": "user", "content": "Who are you?"},
    ]
    second_layer = providers.log(names[3])[1]
    assert second_layer.body["messages"] == request.body["messages"]
    first_layer = providers.log(names[3])[0]
    assert first_layer.body["messages"] == [{"role": "user", "content": "Who are you?"}]


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_all_six_proposers_are_asked_at_once_in_each_layer(
    providers: SimulatedProviders, way: str
) -> None:
    proposers = members(providers)
    names = reply_with_own_name(providers, proposers)
    for name in names:
        providers.hold(name)
    pack = MixtureOfAgentsPack(providers.openai("gpt-4.1"), proposers, num_layers=2)
    running = asyncio.ensure_future(
        pack.arun("hello") if way == "async" else asyncio.to_thread(pack.run, "hello")
    )
    for layer in (1, 2):
        await providers.await_for(arrived=6 * layer, held=6)
        for name in names:
            providers.release(name, 1)
    await running
    assert providers.high_water() == 6
    assert providers.counts().arrived == 13


def test_neither_answers_nor_references_carry_the_word_assistant(
    providers: SimulatedProviders,
) -> None:
    proposers = members(providers, "gpt-4.1-mini", "mistral-small-latest")
    reply_with_own_name(providers, [*proposers, providers.openai("gpt-4.1")])
    result = MixtureOfAgentsPack(providers.openai("gpt-4.1"), proposers).run_detailed("hello")
    assert result.answer == "I am gpt-4.1"
    assert [p.text for p in result.proposals[:2]] == [
        "I am gpt-4.1-mini",
        "I am mistral-small-latest",
    ]
    for record in providers.log():
        assert "assistant:" not in str(record.body)


def test_one_failing_proposer_leaves_the_rest(providers: SimulatedProviders) -> None:
    proposers = members(providers, "gpt-4.1-mini", "gpt-4o", "mistral-small-latest")
    reply_with_own_name(providers, proposers)
    providers.configure("gpt-4o", script=[failure(401, "no such key")] * 9)
    result = MixtureOfAgentsPack(providers.openai("gpt-4.1"), proposers, num_layers=1).run_detailed(
        "hi"
    )
    assert [p.agent for p in result.layers[0].references] == [
        "gpt-4.1-mini",
        "mistral-small-latest",
    ]
    (failed,) = result.failures
    assert (failed.agent, failed.status, failed.attempts) == ("gpt-4o", 401, 1)
    assert "gpt-4o: authentication" in result.degraded[0]
    (request,) = providers.log("gpt-4.1")
    system = request.body["messages"][0]["content"]
    assert system.endswith("\n1. I am gpt-4.1-mini\n2. I am mistral-small-latest")


def test_all_proposers_failing_raises_one_readable_error(providers: SimulatedProviders) -> None:
    proposers = members(providers, "gpt-4.1-mini", "mistral-small-latest")
    providers.configure("*", script=[failure(403, "not for you")] * 9)
    with pytest.raises(QuorumNotMet) as caught:
        MixtureOfAgentsPack(providers.openai("gpt-4.1"), proposers).run("hi")
    lines = str(caught.value).splitlines()
    assert lines[0] == "layer 1 needed 1 of 2 proposals and got 0"
    assert lines[1].startswith("  - gpt-4.1-mini: authentication 403 after 1 attempt")
    assert lines[2].startswith("  - mistral-small-latest: authentication 403 after 1 attempt")
    assert caught.value.result.error == lines[0]
    assert providers.counts("gpt-4.1").arrived == 0


def test_a_run_changes_neither_messages_nor_llms_nor_the_root_logger(
    providers: SimulatedProviders,
) -> None:
    aggregator, proposers = (
        providers.openai("gpt-4.1"),
        members(providers, "gpt-4o", "mistral-small-latest"),
    )
    llms = [aggregator, *proposers]
    before = [llm.model_dump() for llm in llms]
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    messages = [
        ChatMessage(role="system", content="be brief"),
        ChatMessage(role="user", content="hi"),
    ]
    as_given = copy.deepcopy(messages)
    pack = MixtureOfAgentsPack(aggregator, proposers, num_layers=2)
    pack.llm.chat(messages)
    assert messages == as_given
    assert [llm.model_dump() for llm in llms] == before
    assert (root.handlers, root.level) == (handlers, level)


def test_the_users_system_prompt_comes_first(providers: SimulatedProviders) -> None:
    proposers = members(providers, "gpt-4o")
    reply_with_own_name(providers, proposers)
    pack = MixtureOfAgentsPack(providers.openai("gpt-4.1"), proposers, num_layers=1)
    pack.llm.chat(
        [ChatMessage(role="system", content="Be brief."), ChatMessage(role="user", content="hi")]
    )
    (request,) = providers.log("gpt-4.1")
    expected = f"Be brief.\n\n{AGGREGATE_AND_SYNTHESIZE}\n1. I am gpt-4o"
    assert request.body["messages"][0] == {"role": "system", "content": expected}


def test_the_old_defaults_are_sent(providers: SimulatedProviders) -> None:
    proposers = members(providers, "gpt-4o", "mistral-small-latest")
    MixtureOfAgentsPack(providers.openai("gpt-4.1"), proposers).run("hi")
    assert providers.counts().arrived == 3 * 2 + 1
    assert {(r.body["temperature"], r.body["max_tokens"]) for r in providers.log()} == {(0.7, 2048)}


def test_none_sends_nothing_of_its_own(providers: SimulatedProviders) -> None:
    pack = MixtureOfAgentsPack(
        providers.openai("gpt-4.1"),
        members(providers, "gpt-4o"),
        1,
        max_tokens=None,
        temperature=None,
    )
    pack.run("hi")
    for record in providers.log():
        assert "max_tokens" not in record.body
        assert record.body["temperature"] == providers.openai("gpt-4o").temperature


def test_without_a_temperature_the_classes_send_their_own_and_judges_are_asked_at_0(
    providers: SimulatedProviders,
) -> None:
    openai, mistral = providers.openai("gpt-4o"), providers.mistral("mistral-small-latest")
    warm = OpenAI("gpt-4.1-nano", temperature=0.9, api_base=providers.openai_base, api_key="k")
    judge = providers.openai("gpt-4.1")
    MixtureOfAgents(rank([openai, mistral, warm], judge, temperature=None)).complete("hi")
    sent = {record.model: record.body.get("temperature") for record in providers.log()}
    assert sent == {"gpt-4o": 0.1, "mistral-small-latest": 0.1, "gpt-4.1-nano": 0.9, "gpt-4.1": 0.0}
    providers.reset()
    MixtureOfAgents(rank([openai, mistral], Agent(judge, temperature=0.3))).complete("hi")
    assert [record.body["temperature"] for record in providers.log("gpt-4.1")] == [0.3]


def test_default_sampling_is_never_sent_to_a_model_known_to_refuse_it(
    providers: SimulatedProviders,
) -> None:
    providers.configure("o3-mini", only_default=["temperature"], refuses=["max_tokens"], reply="ok")
    proposers = members(providers, "o3-mini", "gpt-4o")
    result = MixtureOfAgentsPack(providers.openai("gpt-4.1"), proposers, num_layers=1).run_detailed(
        "hi"
    )
    assert not result.degraded
    (request,) = providers.log("o3-mini")
    assert request.body["temperature"] == 1
    assert request.body["max_completion_tokens"] == 2048


def test_one_llm_is_as_good_as_a_list(providers: SimulatedProviders) -> None:
    pack = MixtureOfAgentsPack(
        providers.openai("gpt-4.1"), reference_llm=providers.openai("gpt-4o"), num_layers=1
    )
    pack.run("hi")
    assert [r.model for r in providers.log()] == ["gpt-4o", "gpt-4.1"]


def test_proposers_given_twice_or_not_at_all_are_refused(providers: SimulatedProviders) -> None:
    llm = providers.openai("gpt-4.1")
    with pytest.raises(RecipeError, match="give one of them"):
        MixtureOfAgentsPack(llm, [llm], reference_llm=[llm])
    with pytest.raises(RecipeError, match="give the proposers"):
        MixtureOfAgentsPack(llm)
    with pytest.raises(RecipeError, match="at least one proposer"):
        MixtureOfAgentsPack(llm, [])
    with pytest.raises(RecipeError, match="layers = 0"):
        MixtureOfAgentsPack(llm, [llm], num_layers=0)
    with pytest.raises(RecipeError, match="is a text, not an LLM"):
        MixtureOfAgentsPack(llm, ["gpt-4o"])  # type: ignore[list-item]


def test_the_modules_have_the_old_keys_and_the_new_ones(providers: SimulatedProviders) -> None:
    llm, proposers = (
        providers.openai("gpt-4.1"),
        members(providers, "gpt-4o", "mistral-small-latest"),
    )
    pack = MixtureOfAgentsPack(llm, proposers)
    modules = pack.get_modules()
    assert modules["llm"] is llm
    assert modules["reference_llms"] == proposers
    assert (modules["num_layers"], modules["temperature"], modules["max_tokens"]) == (3, 0.7, 2048)
    assert modules["mixture"] is pack.llm


def test_streams_the_answer_piece_by_piece(providers: SimulatedProviders) -> None:
    providers.configure("gpt-4.1", reply="one two three")
    pack = MixtureOfAgentsPack(
        providers.openai("gpt-4.1"), members(providers, "gpt-4o"), num_layers=1
    )
    assert list(pack.stream("hi")) == ["one", " two", " three"]


async def test_streams_the_answer_piece_by_piece_in_async_code(
    providers: SimulatedProviders,
) -> None:
    providers.configure("mistral-small-latest", reply="one two three")
    pack = MixtureOfAgentsPack(
        providers.mistral("mistral-small-latest"), members(providers, "gpt-4o"), num_layers=1
    )
    assert [piece async for piece in pack.astream("hi")] == ["one", " two", " three"]


def both(providers: SimulatedProviders) -> MixtureOfAgentsPack:
    """A pack with both real classes, as proposers and as aggregator, over keep-alive connections."""
    providers.configure("gpt-4.1", reply="fine")
    proposers = members(providers, "gpt-4.1-mini", "mistral-small-latest")
    reply_with_own_name(providers, proposers)
    return MixtureOfAgentsPack(providers.openai("gpt-4.1"), proposers, num_layers=2)


async def inside(run: Callable[[], str]) -> str:
    return run()


def through_astream(pack: MixtureOfAgentsPack) -> Awaitable[str]:
    async def collect() -> str:
        return "".join([piece async for piece in pack.astream("hi")])

    return collect()


WAYS: dict[str, Callable[[MixtureOfAgentsPack], str]] = {
    "run": lambda pack: pack.run("hi"),
    "run in a loop": lambda pack: asyncio.run(inside(lambda: pack.run("hi"))),
    "arun": lambda pack: asyncio.run(pack.arun("hi")),  # type: ignore[arg-type]
    "stream": lambda pack: "".join(pack.stream("hi")),
    "stream in a loop": lambda pack: asyncio.run(inside(lambda: "".join(pack.stream("hi")))),
    "astream": lambda pack: asyncio.run(through_astream(pack)),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("second", WAYS)
@pytest.mark.parametrize("first", WAYS)
def test_every_way_works_twice_after_every_other(
    providers: SimulatedProviders, first: str, second: str
) -> None:
    pack = both(providers)
    for way in (first, first, second, second):
        assert WAYS[way](pack) == "fine"
    assert providers.counts().arrived == 4 * 5
    assert {record.status for record in providers.log()} == {200}


def test_four_threads_at_once_do_not_mix_their_answers(providers: SimulatedProviders) -> None:
    proposers = members(providers, "gpt-4.1-mini", "mistral-small-latest")
    for model in ("gpt-4.1", "gpt-4.1-mini", "mistral-small-latest"):
        providers.configure(model, echo=True)
    pack = MixtureOfAgentsPack(providers.openai("gpt-4.1"), proposers, num_layers=2)
    answers: dict[str, str] = {}

    def ask(number: int) -> None:
        for turn in range(2):
            question = f"question {number} turn {turn}"
            run = pack.run if number % 2 else lambda q: asyncio.run(pack.arun(q))
            answers[question] = run(question)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert all(question == answer for question, answer in answers.items())


def test_no_key_is_shown(providers: SimulatedProviders) -> None:
    key = "sk-very-secret-0123456789"
    llm = providers.openai("gpt-4.1", api_key=key)
    proposers = [
        providers.openai("gpt-4o", api_key=key),
        providers.mistral("mistral-small-latest", api_key=key),
    ]
    providers.configure("*", script=[failure(401, f"Incorrect API key provided: {key}.")] * 9)
    pack = MixtureOfAgentsPack(llm, proposers)
    with pytest.raises(RunError) as caught:
        pack.run("hi")
    shown = [
        repr(pack),
        repr(pack.llm),
        repr(pack.llm.recipe),
        str(caught.value),
        caught.value.result.to_json(),
    ]
    assert not [text for text in shown if re.search("very-secret", text)]


def test_mistakes_are_refused_with_what_to_give_before_anything_is_paid_for(
    providers: SimulatedProviders,
) -> None:
    llm, other = providers.openai("gpt-4.1"), providers.openai("gpt-4o")
    pack = MixtureOfAgentsPack(llm, [other])
    mistakes: list[tuple[Callable[[], object], str]] = [
        (lambda: MixtureOfAgentsPack(None, [other]), "llm = None: give the aggregator"),  # type: ignore[arg-type]
        (lambda: MixtureOfAgentsPack(llm, [other], quorom=1), r"did you mean quorum\?"),  # type: ignore[call-arg]
        (lambda: MixtureOfAgentsPack(llm, [other], num_layers=1, layers=2), "give one of them"),
        (lambda: MixtureOfAgentsPack(llm, [other], aggregator=llm), "give one of them"),  # type: ignore[call-arg]
        (lambda: MixtureOfAgentsPack(llm, "gpt-4o"), r"OpenAI\(model='gpt-4o'\)"),  # type: ignore[arg-type]
        (lambda: MixtureOfAgentsPack(llm, [type(other)]), "is a class, not an LLM"),  # type: ignore[list-item]
        (lambda: MixtureOfAgentsPack([other], llm), "swapped"),  # type: ignore[arg-type]
        (lambda: MixtureOfAgents(llm, [other]), "MixtureOfAgents.llm=..., proposers="),  # type: ignore[arg-type]
        (lambda: MixtureOfAgents(llm=llm, proposers=[other], quorom=1), "quorum"),  # type: ignore[call-arg]
        (lambda: pack.run(""), "query_str = '': must be the question"),
        (lambda: pack.run(None), "query_str = None: must be the question"),  # type: ignore[arg-type]
        (
            lambda: pack.run("x", foo=1),
            r"foo = '...': is not a setting of a call: known are .*top_p",
        ),
        (lambda: pack.run_detailed("x", temperatur=1), r"did you mean temperature\?"),
        (lambda: next(pack.stream("x", max_token=1)), r"did you mean max_tokens\?"),
        (lambda: pack.run("x", deadline=1), "deadline = '...': is set when the pack is made"),
        (lambda: asyncio.run(pack.arun("x", quorum=1)), "is set when the pack is made"),
        (lambda: moa([other], llm, quorom=1), r"is not a setting of moa: did you mean quorum\?"),  # type: ignore[call-arg]
        (lambda: moa([other], llm, layers=1, num_layers=1), "give one of them"),  # type: ignore[call-arg]
        (lambda: council([other], llm, layers=2), "not a setting of council"),  # type: ignore[call-arg]
        (lambda: self_moa([llm, other]), "asks one model several times: give one"),
    ]
    for mistake, told in mistakes:
        with pytest.raises(RecipeError, match=told):
            mistake()
    assert providers.counts().arrived == 0


def test_each_setting_has_the_same_spellings_at_every_door(providers: SimulatedProviders) -> None:
    llm, other = providers.openai("gpt-4.1"), providers.openai("gpt-4o")
    old = MixtureOfAgentsPack(llm, [other], num_layers=1, timeout=10).llm.recipe
    assert (
        MixtureOfAgentsPack(
            llm, proposers=(one for one in [other]), layers=1, deadline=10
        ).llm.recipe
        == old
    )
    for given in (
        {"llm": llm, "proposers": [other], "num_layers": 1, "deadline": 10},
        {"aggregator": llm, "reference_llms": [other], "layers": 1, "timeout": 10},
        {"llm": llm, "reference_llm": other, "layers": 1, "timeout": 10},
    ):
        assert MixtureOfAgents(**given).recipe == old  # type: ignore[arg-type]
    assert MixtureOfAgents(llm=llm, proposers=[other], temperature=None).recipe.temperature is None
    make: Any = moa
    assert make([other], llm, num_layers=1, timeout=10) == old
    assert make(reference_llms=[other], llm=llm, layers=1, deadline=10) == old
    assert make(proposers=other, aggregator=llm, num_layers=1, deadline=10) == old


def test_presets_take_the_same_names_and_those_of_their_source() -> None:
    one, two = ScriptedLLM(model="one"), ScriptedLLM(model="two")
    named: list[tuple[Any, dict[str, Any], dict[str, Any]]] = [
        (council, {"members": [one], "chairman": two}, {"proposers": [one], "aggregator": two}),
        (rank, {"proposers": [one], "ranker": two}, {"proposers": one, "judge": two}),
        (fusion, {"panel": [one], "judge": two}, {"proposers": one, "judge": two}),
        (self_moa, {"llm": one}, {"proposers": [one]}),
        (self_moa_seq, {"llm": one}, {"proposers": one}),
        (best_of_n, {"llm": one, "judge": two}, {"proposers": [one], "judge": two}),
        (cascade, {"cheap": one, "mixture": moa(one, two)}, {"proposers": one, "mixture": moa(one, two)}),
    ]  # fmt: skip
    for preset, theirs, ours in named:
        assert preset(**theirs) == preset(**ours)
        assert preset(**ours).name == preset.__name__
    assert council([one], two, name="mine").name == "mine"


def test_all_models_that_are_not_known_are_refused_in_one_error_with_their_names_of_today(
    providers: SimulatedProviders, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, "a-key")
    old, small = providers.openai("GPT-4"), providers.mistral("mistral-small")
    medium, good = providers.mistral("mistral-medium"), providers.openai("gpt-4.1")
    if not hasattr(LLM, "to_payload"):
        pytest.skip("with this core MistralAI looks no name up")
    file = tmp_path / "moa.toml"
    file.write_text(
        'proposers = ["openai:gpt-4.1",\n"mistral:mistral-small"]\naggregator = "openai:GPT-4"'
    )
    doors: list[Callable[[], object]] = [
        lambda: MixtureOfAgentsPack(old, [good, small]),
        lambda: MixtureOfAgents(llm=old, proposers=[good, small]),
        lambda: moa([good, small], old),
        lambda: council([old, small], good),
        lambda: rank([good, small], old),
        lambda: Layer([old, small]),
        lambda: Recipe([[good, small]], old),
        lambda: moa([good], good, fallbacks=[old, small]),
        lambda: load(file),
    ]
    for door in doors:
        with pytest.raises(ValueError, match=r"knows no model") as caught:
            door()
        assert 'OpenAI knows no model "GPT-4"; did you mean gpt-4?' in str(caught.value)
        assert 'no model "mistral-small"; did you mean mistral-small-latest?' in str(caught.value)
    with pytest.raises(RecipeError, match=r"did you mean mistral-medium-latest\?"):
        MixtureOfAgentsPack(good, [medium])
    assert providers.counts().arrived == 0


def without_key(providers: SimulatedProviders, model: str) -> OpenAI:
    return OpenAI(model, api_base=providers.openai_base)


@pytest.mark.parametrize("shared", [True, False])
def test_a_missing_key_is_told_with_its_variable_before_anything_is_paid_for(
    providers: SimulatedProviders, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    good, call = providers.openai("gpt-4.1-mini"), CallPolicy(shared_clients=shared)
    pack = MixtureOfAgentsPack(without_key(providers, "gpt-4.1"), [good], call=call)
    with pytest.raises(AggregatorFailed, match="the environment has no OPENAI_API_KEY; set it"):
        pack.run("hi")
    pack = MixtureOfAgentsPack(good, [without_key(providers, "gpt-4.1")], call=call)
    with pytest.raises(
        QuorumNotMet, match="the environment has no OPENAI_API_KEY; set it"
    ) as caught:
        pack.run("hi")
    assert caught.value.failures[0].kind == FailureKind.CONFIGURATION
    assert providers.counts().arrived == 0
    monkeypatch.setenv("OPENAI_API_KEY", "simulated-key")
    assert MixtureOfAgentsPack(good, [without_key(providers, "gpt-4.1")], call=call).run("hi")


def test_a_proposer_without_a_key_leaves_the_rest(
    providers: SimulatedProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    good = providers.openai("gpt-4.1-mini")
    result = MixtureOfAgentsPack(good, [good, without_key(providers, "gpt-4.1")], 1).run_detailed(
        "hi"
    )
    assert result.answer
    assert "gpt-4.1: configuration" in result.degraded[0]


def test_the_pack_has_the_old_packs_three_layers_and_every_other_door_two(
    providers: SimulatedProviders, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    llm = providers.openai("gpt-4.1")
    assert len(MixtureOfAgentsPack(llm, [llm]).llm.recipe.layers) == 3
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in KEYS:
        monkeypatch.setenv(name, "a-key")
    models = {"proposers": ["openai:gpt-4.1-mini"], "aggregator": "openai:gpt-4.1"}
    recipes = [
        moa([llm], llm),
        MixtureOfAgents(llm=llm, proposers=[llm]).recipe,
        loads('proposers = "openai:gpt-4.1-mini"\naggregator = "openai:gpt-4.1"'),
        find(Flags()).recipe(),
        find(Flags(**models)).recipe(),
        find(Flags(recipe="moa")).recipe(),
        find(Flags(recipe="moa", **models)).recipe(),
    ]
    assert [len(recipe.layers) for recipe in recipes] == [DEFAULT_LAYERS] * len(recipes)


@pytest.mark.parametrize("fence", [False, True])
def test_roles_stand_before_the_references(providers: SimulatedProviders, fence: bool) -> None:
    doubter = Proposer(providers.openai("gpt-4o"), system_prompt="Doubt the obvious answer.")
    writer = Aggregator(providers.openai("gpt-4.1"), system_prompt="Write for children.")
    providers.configure("gpt-4o", reply="Sell it.")
    mixture = MixtureOfAgents(llm=writer, proposers=[doubter], fence=fence)  # type: ignore[arg-type]
    mixture.chat([ChatMessage(role="system", content="Be brief."), ChatMessage(content="Well?")])
    for model, role in (
        ("gpt-4o", "Doubt the obvious answer."),
        ("gpt-4.1", "Write for children."),
    ):
        system = providers.log(model)[-1].body["messages"][0]["content"]
        assert system.startswith(f"Be brief.\n\n{role}\n\nYou have been provided")
        assert system.count(role) == 1
        assert re.search(r"Sell it\.(\n</response-[0-9a-f]{8}>)?$", system)


def test_a_role_stays_in_the_system_message_where_references_follow_the_question(
    providers: SimulatedProviders,
) -> None:
    writer = Aggregator(providers.openai("gpt-4.1"), system_prompt="Write for children.")
    proposers = [providers.openai("gpt-4o")]
    MixtureOfAgents(llm=writer, proposers=proposers, placement="user").chat(  # type: ignore[arg-type]
        [ChatMessage(content="Well?")]
    )
    system, question = providers.log("gpt-4.1")[-1].body["messages"]
    assert system == {"role": "system", "content": "Write for children."}
    assert question["content"].startswith("Well?\n\nYou have been provided")
