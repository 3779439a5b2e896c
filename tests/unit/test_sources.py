"""Where a command's recipe comes from: one of the file's mixtures, by its name."""

import re
from typing import Any

import pytest

from llama_index.packs.mixture_of_agents import ConfigError
from llama_index.packs.mixture_of_agents.cli.command import Flags
from llama_index.packs.mixture_of_agents.cli.sources import find, find_all
from llama_index.packs.mixture_of_agents.config import mixture_in, read_text, read_with_models
from llama_index.packs.mixture_of_agents.presets import PRESETS

SEVERAL = """
[models.small]
model = "openai:gpt-4.1-mini"
settings.timeout = 7.0

[models.unused]
model = "openai:gpt-4o"

[mixtures.fast]
proposers = ["small", "openai:gpt-4.1-nano"]
aggregator = "openai:gpt-4.1"
layers = 1

[mixtures.deep]
recipe = "council"
proposers = ["small", "mistral:mistral-small-latest"]
aggregator = "openai:gpt-4.1"
deadline = 60.0
"""
OWN = 'proposers = ["openai:gpt-4.1-mini"]\naggregator = "openai:gpt-4.1"\n'


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "moa.toml"
    path.write_text(SEVERAL)
    return path


def names(recipe) -> list[list[str]]:
    return [[p.name for p in layer.proposers] for layer in recipe.layers]


def test_a_mixture_of_a_file_is_chosen_by_its_name(file):
    fast, deep = (
        find(Flags(config=file, mixture=one)).recipe(need_keys=False) for one in ("fast", "deep")
    )
    assert (fast.name, names(fast)) == ("fast", [["gpt-4.1-mini", "gpt-4.1-nano"]])
    assert (deep.name, deep.deadline) == ("deep", 60.0)
    small: Any = fast.layers[0].proposers[0].llm
    assert small.timeout == 7.0


def test_all_mixtures_of_a_file_are_found_and_options_apply_to_each(file):
    found = find_all(Flags(config=file, deadline=5.0))
    assert list(found) == ["fast", "deep"]
    recipes = [source.recipe(need_keys=False) for source in found.values()]
    assert [recipe.deadline for recipe in recipes] == [5.0, 5.0]


def test_the_recipe_at_the_top_of_a_file_is_the_one_that_is_meant_without_a_name(file):
    file.write_text(OWN + SEVERAL)
    assert find(Flags(config=file)).recipe(need_keys=False).name == "moa"
    assert list(find_all(Flags(config=file))) == ["", "fast", "deep"]
    assert list(find_all(Flags(config=file, mixture="deep"))) == ["deep"]


def test_the_only_mixture_of_a_file_needs_no_name(file):
    file.write_text(SEVERAL.partition("[mixtures.deep]")[0])
    assert find(Flags(config=file)).recipe(need_keys=False).name == "fast"


@pytest.mark.parametrize(
    ("flags", "text", "message"),
    [
        ({}, SEVERAL, r"moa.toml has several mixtures: name one with --mixture (fast, deep)"),
        ({"mixture": "fsat"}, SEVERAL, r'moa.toml has no mixture "fsat"; did you mean "fast"?'),
        ({"mixture": "fast"}, OWN, 'moa.toml has no mixture "fast"; write a table [mixtures.fast]'),
        ({"mixture": "a"}, "[mixtures]\na = 1", "moa.toml:2: mixtures.a: names with values are expected"),
        ({}, "mixtures = 3", "moa.toml:1: mixtures: tables are expected, such as [mixtures.fast]"),
        ({"mixture": "fast"}, SEVERAL.replace("layers = 1", "layer = 1"),
         "moa.toml:12: layer: there is no such field"),
        ({"mixture": "deep"}, SEVERAL.replace('"openai:gpt-4o"', "3"), ""),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(file, flags, text, message):
    file.write_text(text)
    if not message:  # a model that this mixture does not use
        assert find(Flags(config=file, **flags)).recipe(need_keys=False)
        return
    with pytest.raises(ConfigError, match=re.escape(message.removeprefix("moa.toml"))):
        find(Flags(config=file, **flags)).recipe(need_keys=False)


def test_yaml_files_have_mixtures_too(tmp_path):
    path = tmp_path / "moa.yaml"
    path.write_text(
        "mixtures:\n  one:\n    proposers: [openai:gpt-4.1-mini]\n    aggregator: openai:gpt-4.1\n    quorom: 1\n"
    )
    with pytest.raises(ConfigError, match=r"moa.yaml:5: quorom"):
        find(Flags(config=path, mixture="one")).recipe(need_keys=False)


@pytest.mark.parametrize(
    "preset", [name for name in PRESETS if name not in ("cascade", "residual")]
)
def test_every_preset_can_be_a_named_mixture(tmp_path, preset):
    path = tmp_path / "moa.toml"
    judge = (
        'judge = "openai:gpt-4.1"\n'
        if preset in ("rank", "fusion", "sparse", "best_of_n", "vote")
        else ""
    )
    writer = "" if preset in ("rank", "vote", "best_of_n") else 'aggregator = "openai:gpt-4.1"\n'
    path.write_text(
        f'[mixtures.x]\nrecipe = "{preset}"\nproposers = ["openai:gpt-4.1-mini"]\n{writer}{judge}'
    )
    assert find(Flags(config=path)).recipe(need_keys=False).name == "x"


def test_the_models_of_a_mixture_are_known_by_the_names_that_the_file_gives_them():
    document = mixture_in(read_text(SEVERAL), "fast")
    recipe, models = read_with_models(document, need_keys=False)
    assert list(models) == ["small", "openai:gpt-4.1-nano", "openai:gpt-4.1", "unused"]
    assert models["small"] is recipe.layers[0].proposers[0].llm


def test_limits_of_endpoints_that_options_have_replaced_do_not_hold_up_a_command(tmp_path):
    path = tmp_path / "moa.toml"
    limits = """[limits.endpoints]
"openai:gpt-4.1-mini" = { requests_per_minute = 5 }
"openai:gpt-4.1" = { requests_per_minute = 6 }
mistral = { requests_per_minute = 7 }
"""
    fallback = 'fallbacks = ["mistral:mistral-small-latest"]\n'
    path.write_text(OWN + fallback + limits)
    own = find(Flags(config=path)).recipe(need_keys=False).limits.endpoints
    assert {name: one.requests_per_minute for name, one in own.items()} == {
        "openai:gpt-4.1-mini": 5, "openai:gpt-4.1": 6, "mistral": 7,
    }  # fmt: skip
    other = Flags(config=path, proposers=["openai:gpt-4.1-nano"])
    assert set(find(other).recipe(need_keys=False).limits.endpoints) == {
        "openai:gpt-4.1",
        "mistral",
    }


def test_a_limit_of_an_endpoint_that_is_not_there_names_its_line(tmp_path):
    path = tmp_path / "moa.toml"
    path.write_text(OWN + '[limits.endpoints."openai:gpt-9"]\nrequests_per_minute = 5\n')
    wrong = (
        r"moa\.toml:3: limits\.endpoints = 'openai:gpt-9': .*openai:gpt-4\.1, openai:gpt-4\.1-mini"
    )
    with pytest.raises(ConfigError, match=wrong):
        find(Flags(config=path)).recipe(need_keys=False)
