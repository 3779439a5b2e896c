"""Recipes in files: what they may say, what comes of it, and what is said of mistakes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.llms.mistralai import MistralAI
from llama_index.llms.openai import OpenAI

from llama_index.packs.mixture_of_agents import (
    ConfigError,
    Layer,
    MixtureOfAgents,
    Proposer,
    Recipe,
    moa,
)
from llama_index.packs.mixture_of_agents.config import dumps, from_data, load, loads, to_data
from llama_index.packs.mixture_of_agents.config._documents import Format, read_text, write
from llama_index.packs.mixture_of_agents.policies import EndpointLimits
from llama_index.packs.mixture_of_agents.presets import PRESETS
from llama_index.packs.mixture_of_agents.recipe import Agent, Breaker, Budget, CallPolicy, Limits
from llama_index.packs.mixture_of_agents.selection import Rank, Shuffle, Vote
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

MINIMAL = """
proposers = ["openai:gpt-4.1-mini", "mistral:mistral-small-latest"]
aggregator = "openai:gpt-4.1"
"""
FULL = """
name = "ours"
aggregator = { model = "smart", temperature = 0.2, system_prompt = "Be brief." }
fallbacks = ["mistral:mistral-small-latest"]
temperature = "none"
deadline = 60
seed = 7

[[layers]]
proposers = [
    "smart",
    { model = "openai:gpt-4.1-nano", name = "nano", samples = 3, max_tokens = 100 },
]
quorum = 2
grace = 1.5

[[layers]]
proposers = "smart"
deadline = 20

[models.smart]
model = "openai:gpt-4.1"
api_base = "http://127.0.0.1:1/v1"
api_key = "$SMART_KEY"
settings = { timeout = 10.0, default_headers = { Authorization = "Bearer $SMART_KEY" } }

[call]
retries = 0

[budget]
usd = 0.5

[limits]
in_flight = 4
breaker = { failures = 2 }

[prices]
"gpt-4.1" = [2, 8]
"""


@pytest.fixture(autouse=True)
def keys(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "the-openai-key")
    monkeypatch.setenv("MISTRAL_API_KEY", "the-mistral-key")
    monkeypatch.setenv("SMART_KEY", "the-smart-key")
    for name in ("OPENAI_API_BASE", "OPENAI_BASE_URL", "MISTRAL_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)


def mistake(text: str, **more) -> str:
    with pytest.raises(ConfigError) as caught:
        loads(text, **more)
    return str(caught.value)


def test_a_minimal_file_is_the_papers_mixture_with_two_layers_of_proposers():
    recipe = loads(MINIMAL)
    assert [[p.name for p in layer.proposers] for layer in recipe.layers] == [
        ["gpt-4.1-mini", "mistral-small-latest"]
    ] * 2
    first, second = recipe.layers[0].proposers
    assert isinstance(first.llm, OpenAI)
    assert isinstance(second.llm, MistralAI)
    assert recipe.aggregator is not None
    assert recipe.aggregator.model == "gpt-4.1"


def test_a_full_file_says_all_that_a_recipe_can_hold():
    recipe = loads(FULL)
    assert recipe.name == "ours"
    assert recipe.temperature is None
    assert recipe.call == CallPolicy(retries=0)
    assert recipe.budget == Budget(usd=0.5)
    assert recipe.limits == Limits(in_flight=4, breaker=Breaker(failures=2))
    assert recipe.prices == {"gpt-4.1": (2.0, 8.0)}
    first, second = recipe.layers
    assert (first.quorum, first.grace, second.deadline) == (2, 1.5, 20.0)
    smart, nano = first.proposers
    assert (nano.name, nano.samples, nano.max_tokens) == ("nano", 3, 100)
    assert recipe.aggregator is not None
    assert (recipe.aggregator.temperature, recipe.aggregator.system_prompt) == (0.2, "Be brief.")
    assert [one.model for one in recipe.fallbacks] == ["mistral-small-latest"]
    assert isinstance(smart.llm, OpenAI)
    assert smart.llm.api_base == "http://127.0.0.1:1/v1"
    assert smart.llm.api_key == "the-smart-key"
    assert smart.llm.default_headers == {"Authorization": "Bearer the-smart-key"}


def test_agents_that_name_the_same_model_share_one_llm():
    recipe = loads(FULL)
    assert recipe.aggregator is not None
    assert recipe.layers[0].proposers[0].llm is recipe.layers[1].proposers[0].llm
    assert recipe.layers[0].proposers[0].llm is recipe.aggregator.llm


@pytest.mark.parametrize("form", ["toml", "yaml", "json"])
@pytest.mark.parametrize("text", [MINIMAL, FULL], ids=["minimal", "full"])
def test_a_recipe_goes_through_every_format_and_comes_back_the_same(text, form: Format):
    recipe = loads(text)
    written = dumps(recipe, form)
    again = loads(written, form)
    assert to_data(again) == to_data(recipe)
    assert dumps(again, form) == written
    assert json.loads(json.dumps(to_data(recipe))) == to_data(recipe)


@pytest.mark.parametrize("form", ["toml", "yaml", "json"])
def test_a_key_is_never_written_and_its_variable_is(form: Format):
    written = dumps(loads(FULL), form)
    assert "the-smart-key" not in written
    assert "the-openai-key" not in written
    assert "$SMART_KEY" in written
    assert "OPENAI_API_KEY" not in written  # where the class looks by itself


def test_what_is_as_it_would_be_anyway_is_not_written():
    recipe = moa([OpenAI("gpt-4.1-mini"), MistralAI("mistral-small-latest")], OpenAI("gpt-4.1"))
    assert to_data(recipe) == {
        "layers": 2,
        "proposers": ["openai:gpt-4.1-mini", "mistral:mistral-small-latest"],
        "aggregator": "openai:gpt-4.1",
    }


def test_settings_of_a_llm_object_are_written():
    llm = OpenAI("gpt-4.1", temperature=0.9, timeout=5.0, api_base="http://127.0.0.1:1/v1")
    mistral = MistralAI("mistral-small-latest", endpoint="http://127.0.0.1:1", random_seed=3)
    proposers = (Proposer(llm, name="a", kwargs={"top_p": 0.5}), Proposer(mistral, name="b"))
    recipe = Recipe((Layer(proposers),), None)
    assert to_data(recipe)["proposers"] == [
        {
            "model": "openai:gpt-4.1",
            "api_base": "http://127.0.0.1:1/v1",
            "settings": {"temperature": 0.9, "timeout": 5.0},
            "name": "a",
            "kwargs": {"top_p": 0.5},
        },
        {
            "model": "mistral:mistral-small-latest",
            "api_base": "http://127.0.0.1:1",
            "settings": {"random_seed": 3},
            "name": "b",
        },
    ]
    assert to_data(from_data(to_data(recipe))) == to_data(recipe)


def test_a_recipe_without_an_aggregator_says_so():
    recipe = loads('aggregator = "none"\nlayers = 1\nproposers = "openai:gpt-4.1-mini"')
    assert recipe.aggregator is None
    assert loads(dumps(recipe)).aggregator is None


def test_any_llm_class_of_llama_index_can_be_named_by_its_path():
    text = MINIMAL.replace(
        '"openai:gpt-4.1"',
        '{ class = "llama_index.llms.openai.OpenAIResponses", model = "gpt-4.1" }',
    )
    recipe = loads(text)
    assert recipe.aggregator is not None
    assert type(recipe.aggregator.llm).__name__ == "OpenAIResponses"
    assert to_data(recipe)["aggregator"] == {
        "class": "llama_index.llms.openai.OpenAIResponses",
        "model": "gpt-4.1",
    }


def test_an_llm_of_ones_own_class_cannot_be_written_and_the_error_says_why():
    with pytest.raises(ConfigError, match=r"ScriptedLLM is not a class of llama_index.llms"):
        dumps(moa([ScriptedLLM("a")], ScriptedLLM("b")))


def test_a_file_can_name_a_preset_and_give_its_parameters():
    recipe = loads('recipe = "self_moa"\nllm = "openai:gpt-4.1"\nsamples = 4\ndeadline = 30')
    assert recipe.name == "self_moa"
    assert recipe.layers[0].samples == 4
    assert recipe.deadline == 30.0
    assert recipe.aggregator is not None
    assert recipe.aggregator.model == "gpt-4.1"


PRESET_FILES = {
    "moa": 'proposers = ["openai:gpt-4.1-mini"]\naggregator = "openai:gpt-4.1"',
    "moa_lite": 'proposers = ["openai:gpt-4.1-mini"]\naggregator = "openai:gpt-4.1"',
    "self_moa": 'proposers = "openai:gpt-4.1"\nsamples = 3',
    "self_moa_seq": 'llm = { model = "openai:gpt-4.1", system_prompt = "Be brief." }\nwindow = 3',
    "rank": 'proposers = ["openai:gpt-4.1-mini", "openai:gpt-4o"]\njudge = "openai:gpt-4.1"',
    "vote": 'proposers = "openai:gpt-4.1-mini"\nsamples = 5\njudge = "openai:gpt-4.1"',
    "best_of_n": 'llm = "openai:gpt-4.1"',
    "council": 'members = ["openai:gpt-4o", "openai:gpt-4.1"]\nchairman = "openai:gpt-4.1"',
    "fusion": 'proposers = ["openai:gpt-4o", "openai:gpt-4.1"]\njudge = "openai:gpt-4.1"',
    "residual": 'proposers = ["openai:gpt-4o", "openai:gpt-4.1"]\naggregator = "openai:gpt-4.1"',
    "sparse": 'proposers = ["openai:gpt-4o", "openai:gpt-4.1"]\njudge = "openai:gpt-4.1"\nkeep = 1',
    "cascade": 'cheap = "openai:gpt-4.1-nano"\n[mixture]\nrecipe = "self_moa"\nllm = "openai:gpt-4.1"',
}


def test_every_preset_is_tried_below():
    assert set(PRESET_FILES) == set(PRESETS)


@pytest.mark.parametrize("name", PRESET_FILES)
def test_every_preset_can_be_named_and_comes_back_the_same(name):
    recipe = loads(f'recipe = "{name}"\n{PRESET_FILES[name]}')
    written = dumps(recipe)
    again = loads(written)
    assert dumps(again) == written
    assert [agent.name for agent in again.agents] == [agent.name for agent in recipe.agents]
    assert [agent.temperature for agent in again.agents] == [
        agent.temperature for agent in recipe.agents
    ]


@pytest.mark.parametrize("form", ["toml", "yaml", "json"])
def test_a_mixture_can_be_a_proposer_and_a_judge_of_another(form: Format):
    recipe = loads("""
recipe = "rank"
ranker = { mixture = { recipe = "self_moa", llm = "smart" }, temperature = 0.1 }

[[proposers]]
name = "panel"
mixture = { proposers = ["smart", "openai:gpt-4.1-nano"], aggregator = "smart", layers = 1 }

[[proposers]]
model = "smart"

[models.smart]
model = "openai:gpt-4.1"
""")
    again = loads(dumps(recipe, form), form)
    panel, smart = again.layers[0].proposers
    assert [panel.name, smart.name, again.agents[-1].model] == ["panel", "gpt-4.1", "self_moa"]
    assert isinstance(panel.llm, MixtureOfAgents)
    assert [agent.name for agent in panel.llm.recipe.agents] == [
        "gpt-4.1",
        "gpt-4.1-nano",
        "gpt-4.1",
    ]
    assert again.agents[-1].temperature == 0.1
    assert to_data(again) == to_data(recipe)


def test_a_layer_can_name_its_selections_with_their_settings():
    recipe = loads(
        MINIMAL
        + """
select = [
    "shuffle",
    { use = "rank", judge = "openai:gpt-4.1", k = 1 },
    { use = "vote", judge = { model = "openai:gpt-4.1", temperature = 0.5 } },
]
"""
    )
    shuffle, rank, vote = recipe.layers[0].select
    assert shuffle == Shuffle()
    assert isinstance(rank, Rank)
    assert isinstance(rank.judge, Agent)
    assert rank.judge.temperature == 0.0  # as for an LLM given in Python
    assert isinstance(vote, Vote)
    assert isinstance(vote.judge, Agent)
    assert vote.judge.temperature == 0.5
    assert to_data(loads(dumps(recipe))) == to_data(recipe)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("proposers = [", "the recipe:1: this is not TOML: Invalid value\n    proposers = ["),
        (MINIMAL + "\n= 3", "the recipe:5: this is not TOML: Invalid"),
        (MINIMAL + "temprature = 1", 'the recipe:4: temprature: there is no such field; did you mean "temperature"?'),
        (MINIMAL + 'temperature = "hot"', 'the recipe:4: temperature: "hot" is wrong: Input should be a valid number'),
        (MINIMAL + "temperature = -1", "the recipe:4: temperature = -1.0: must be a number, and cannot be negative"),
        (MINIMAL + "quorum = 3", "the recipe:4: quorum = 3: must be a whole number from 0 to 2"),
        (MINIMAL + "layers = 0", "the recipe:4: layers = 0: must be a whole number, at least 1"),
        (MINIMAL + "[call]\nretrys = 1", 'the recipe:5: call.retrys: there is no such field; did you mean "retries"?'),
        (MINIMAL + "call = 3", "the recipe:4: call: 3: names with values are expected"),
        (MINIMAL + "[[layers]]\nproposers = []", "the recipe:2: proposers: there is no such field"),
        (MINIMAL + 'recipe = "mao"', 'the recipe:4: recipe: there is no recipe "mao"; did you mean "moa"?'),
        (MINIMAL + 'select = "rnk"', 'the recipe:4: select.use: there is no selection "rnk"; did you mean "rank"?'),
        (MINIMAL + 'select = "rank"', 'the recipe:4: select: judge is missing: say judge = "openai:gpt-4.1-mini"'),
        (MINIMAL + 'select = { use = "take", k = 0 }', "the recipe:4: select: k = 0: must be a whole number, at least 1"),
        (MINIMAL + 'select = { use = "take", n = 1 }', "the recipe:4: select.n: there is no such field"),
        ('recipe = "cascade"\ncheap = "openai:gpt-4.1"', "mixture is missing: it is a recipe of its own, [mixture]"),
        ('recipe = "moa"\n[[layers]]\nproposers = []', "the recipe:1: recipe: [[layers]] say it all"),
        ("proposers = [{ mixture = {} }]\naggregator = 'x'", "proposers[0].mixture: proposers is missing"),
        ("proposers = [{ mixture = {}, model = 'x' }]\naggregator = 'x'", "model: a mixture has models of its own"),
        ('recipe = "cascade"\ncheap = "openai:gpt-4.1"\n[mixture.models]', "mixture.models: there is no such field"),
        (MINIMAL + 'select = { use = "rank", judge = "local" }\n[models.loca]\nmodel = "openai:gpt-4.1"',
            'the recipe:4: select.judge.model: there is no [models.local]; did you mean "loca"?'),
        (MINIMAL + 'select = { use = "rank", judge = "a" }\n[models.a]\nmodle = "openai:gpt-4.1"',
            'the recipe:6: models.a.modle: there is no such field; did you mean "model"?'),
        (MINIMAL + 'select = { use = "rank", judge = "a" }\n[models]\na = "openai:gpt-4.1"',
            'the recipe:6: models.a: "openai:gpt-4.1": names with values are expected'),
        (MINIMAL + 'llm = "openai:gpt-4.1"', "the recipe:4: llm: llm = 'openai:gpt-4.1': is the same as aggregator"),
        ("", "the recipe: proposers is missing"),
        ('aggregator = "openai:gpt-4.1"', "the recipe: proposers is missing"),
        ('aggregator = "openai:gpt-4.1"\nlayers = [{ quorum = 1 }]', "the recipe:2: layers[0]: proposers is missing"),
        ('proposers = [\n "openai:gpt-4.1",\n {name = "x"},\n]\naggregator = "none"', "proposers[1]: it names no model"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line_and_the_remedy(text, said):
    assert said in mistake(text)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ('"openai:GPT-4"', 'knows no model "GPT-4"; did you mean gpt-4?'),
        ('"mistral:mistral-smal-latest"', "did you mean mistral-small-latest"),
        ('"opnai:gpt-4.1"', 'there is no provider "opnai"; did you mean "openai"?'),
        ('"gpt-4.1"', 'a model is written "provider:name", such as "openai:gpt-4.1"'),
        ('"zzz:gpt-4.1"', "known are openai, mistral, anthropic, ollama, openai-like"),
        ('{ class = "llama_index.llms.nowhere.Nowhere", model = "x" }', "run: pip install llama-index-llms-nowhere"),
        ('{ class = "llama_index.llms.openai.Nothing", model = "x" }', "has no LLM class 'Nothing'"),
        ('{ class = "os.path.join", model = "x" }', "'os.path.join' is not a class of llama_index.llms.*"),
        ('{ model = "openai:gpt-4.1", api_key = "$NOT_SET" }', "the environment has no NOT_SET"),
        ('{ model = "openai:gpt-4.1", api_key = "sk-abcdefgh" }', "a file must not hold a key"),
        ('{ model = "openai:gpt-4.1", settings = { timout = 1 } }', 'has no setting "timout"; did you mean "timeout"?'),
        ('{ model = "openai:gpt-4.1", settings = { temperature = 9 } }', "temperature: Input should be less than"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_had_is_told_with_its_line_and_the_remedy(model, said):
    told = mistake(f'proposers = [\n    "openai:gpt-4.1",\n    {model},\n]\naggregator = "none"')
    assert said in told
    assert told.startswith("the recipe:3: proposers[1]")
    assert "sk-abcdefgh" not in told


def test_all_models_that_cannot_be_had_are_told_in_one_error_each_with_its_line(monkeypatch):
    monkeypatch.delenv("MISTRAL_API_KEY")
    told = mistake(
        'proposers = [\n "openai:GPT-4",\n "opnai:gpt-4.1",\n "mistral:mistral-small-latest"\n]\n'
        'aggregator = "openai:gpt-4.1"\nbudget = { usd = 1.0 }'
    )
    lines = told.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [f"the recipe:{n}" for n in (2, 3, 4)]
    assert "did you mean gpt-4?" in lines[0]
    assert 'did you mean "openai"?' in lines[1]
    assert "the environment has no MISTRAL_API_KEY" in lines[2]


def test_a_missing_key_is_an_error_only_where_models_are_to_be_asked(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("MISTRAL_API_KEY")
    assert "the environment has no OPENAI_API_KEY" in mistake(MINIMAL)
    assert len(loads(MINIMAL, need_keys=False).agents) == 5


def test_the_line_shown_of_a_broken_file_holds_no_key():
    told = mistake('api_key = "sk-abcdefgh12345" oops')
    assert "sk-abcdefgh" not in told
    assert "api_key" in told


def test_yaml_mistakes_have_their_lines_too():
    told = mistake(
        "aggregator: openai:gpt-4.1\nproposers:\n  - openai:gpt-4.1\n  - openai:GPT-4\n",
        format="yaml",
    )
    assert told.startswith("the recipe:4: proposers[1].model: ")
    told = mistake("aggregator: openai:gpt-4.1\nproposers: [\n", format="yaml")
    assert told.startswith("the recipe:3: this is not YAML: ")
    assert "names with values are expected" in mistake("- a\n- b\n", format="yaml")


def test_files_are_read_by_their_ending(tmp_path):
    toml = tmp_path / "moa.toml"
    toml.write_text(MINIMAL)
    recipe = load(toml)
    forms: dict[str, Format] = {"moa.yaml": "yaml", "moa.json": "json"}
    for name, form in forms.items():
        (tmp_path / name).write_text(dumps(recipe, form))
        assert to_data(load(tmp_path / name)) == to_data(recipe)


@pytest.mark.parametrize("form", ["toml", "yaml", "json"])
def test_a_file_may_begin_with_a_bom_and_have_the_line_ends_of_windows(tmp_path, form: Format):
    recipe = loads(MINIMAL)
    text = dumps(recipe, form).replace("\n", "\r\n")
    path = tmp_path / f"moa.{form}"
    path.write_bytes(f"\ufeff{text}".encode())
    assert to_data(load(path)) == to_data(loads(f"\ufeff{text}", form)) == to_data(recipe)


def test_a_file_that_cannot_be_read_is_told_by_its_name(tmp_path):
    latin = tmp_path / "latin.toml"
    latin.write_bytes('name = "caf\xe9"'.encode("latin-1"))
    for path, said in {
        tmp_path: "is a folder",
        tmp_path / "moa.toml": "No such file",
        tmp_path / "moa.ini": "must end in .toml",
        latin: "not UTF-8",
    }.items():
        with pytest.raises(ConfigError, match=said) as caught:
            load(path)
        assert str(path) in str(caught.value)


texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=12,
)


@pytest.mark.slow
@given(st.dictionaries(texts, values))
def test_whatever_plain_data_is_written_as_toml_reads_back_the_same(data):
    assert read_text(write(data)).data == data


ENDPOINTS = """
proposers = ["openai:gpt-4.1-mini", "mistral:mistral-small-latest"]
aggregator = "openai:gpt-4.1"
[limits]
store = "sqlite:limits.db"
[limits.endpoints."openai:gpt-4.1-mini"]
requests_per_minute = 500
tokens_per_minute = 200_000
in_flight = "auto"
[limits.endpoints.mistral]
in_flight = 8
"""


def test_the_limits_of_endpoints_are_read_and_written():
    recipe = loads(ENDPOINTS, need_keys=False)
    assert recipe.limits.store == "sqlite:limits.db"
    assert recipe.limits.endpoints == {
        "openai:gpt-4.1-mini": EndpointLimits(500, 200_000, "auto"),
        "mistral": EndpointLimits(in_flight=8),
    }
    assert loads(dumps(recipe), need_keys=False).limits == recipe.limits


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (("requests_per_minute = 500", "requests = 500"), ":7: .*there is no such field"),
        (("= 500", "= 0"), ":7: .*at least 1"),
        (('= "auto"', '= "all"'), ":9: .*in_flight"),
        (("endpoints.mistral", "endpoints.mistrall"), "mistrall.*none of its models"),
        (("sqlite:limits.db", "redis://:secret@host"), r"store = '\.\.\.': a password"),
    ],
)
def test_mistakes_in_the_limits_of_endpoints_are_told_with_their_line(wrong, problem):
    with pytest.raises(ConfigError, match=problem) as caught:
        loads(ENDPOINTS.replace(*wrong), need_keys=False)
    assert "secret" not in str(caught.value)


def test_an_openai_like_model_without_an_address_names_the_ways_to_give_one(monkeypatch):
    text = 'proposers = ["openai-like:x"]\naggregator = "openai:gpt-4.1"'
    monkeypatch.delenv("OPENAI_API_BASE", raising=False)
    with pytest.raises(
        ConfigError, match=r'api_base = "http://\.\.\." in a file, or the variable OPENAI_API_BASE'
    ):
        loads(text, need_keys=False)
    monkeypatch.setenv("OPENAI_API_BASE", "http://127.0.0.1:1/v1")
    with pytest.raises(ConfigError, match="pip install llama-index-llms-openai-like"):
        loads(text, need_keys=False)
