"""The JSON Schema of a configuration file accepts what the reader accepts, and refuses wrong names and types."""

import json
import re
import sys
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from llama_index.packs.mixture_of_agents import ConfigError
from llama_index.packs.mixture_of_agents.config import (
    Document,
    from_document,
    json_schema,
    loads,
    mixture_in,
    mixture_names,
    read_text,
    to_data,
)
from llama_index.packs.mixture_of_agents.presets import PRESETS
from llama_index.packs.mixture_of_agents.recipe import Proposer, moa
from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
BLOCKS = [
    pytest.param(text, id=f"{page.relative_to(ROOT)}-{number}")
    for page in sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
    for number, text in enumerate(
        re.findall(r"^```toml[^\n]*\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    )
]
GOOD = 'proposers = ["openai:gpt-4.1-mini"]\naggregator = "openai:gpt-4.1"\n'


@pytest.fixture(scope="module")
def validator() -> Draft7Validator:
    schema = json.loads(json.dumps(json_schema()))
    Draft7Validator.check_schema(schema)
    return Draft7Validator(schema)


def refusals(document: Document) -> list[str]:
    try:
        from_document(document, need_keys=False)
    except ConfigError as error:
        return str(error).splitlines()
    return []


@pytest.mark.parametrize("text", BLOCKS)
def test_every_file_in_the_documents_is_read_and_fits_the_schema(text, validator):
    document = read_text(text)
    for table in [mixture_in(document, name) for name in mixture_names(document)] or [document]:
        assert [line for line in refusals(table) if "is not installed" not in line] == []
    assert [error.message for error in validator.iter_errors(tomllib.loads(text))] == []


@pytest.mark.parametrize("preset", PRESETS)
def test_a_recipe_with_every_parameter_of_its_preset_fits(preset, validator):
    needs = {
        "proposers": ["openai:gpt-4.1-mini"],
        "judge": {"model": "openai:gpt-4.1", "temperature": 0},
        "aggregator": "openai:gpt-4.1",
        "mixture": {"proposers": "openai:gpt-4.1", "aggregator": "openai:gpt-4.1"},
    }
    branch = json_schema()["definitions"][f"recipe.{preset}"]["properties"]
    assert set(branch) > {"proposers"}
    data = {"recipe": preset, **{name: needs[name] for name in branch if name in needs}}
    assert [error.message for error in validator.iter_errors(data)] == []
    wrong = [error.message for error in validator.iter_errors({**data, "quorom": 1})]
    assert len(wrong) == 1
    assert wrong[0].startswith("'quorom' is not one of")


@pytest.mark.parametrize(
    "wrong",
    [
        'proposers = ["openai:gpt-4.1-mini"]',
        GOOD + 'layers = "two"',
        GOOD + "quorum = 1.5",
        GOOD + 'recipe = "mao"',
        GOOD + 'select = "rnk"',
        GOOD + "[call]\ntries = 2",
        GOOD + '[models.local]\nmodle = "openai-like:x"',
        GOOD.replace('"openai:gpt-4.1"', '{ model = "openai:gpt-4.1", temprature = 1 }'),
        '[mixtures.fast]\nproposers = ["openai:gpt-4.1-mini"]',
    ],
)
def test_what_the_reader_refuses_for_its_name_or_type_the_schema_refuses_too(wrong, validator):
    assert list(validator.iter_errors(tomllib.loads(GOOD))) == []
    assert list(validator.iter_errors(tomllib.loads(wrong)))


def test_each_field_says_what_it_is():
    definitions = json_schema()["definitions"]
    assert definitions["policies"]["properties"]["temperature"]["description"].startswith(
        "for every"
    )
    silent = [
        f"{name}.{field}"
        for name, one in definitions.items()
        for field, schema in one.get("properties", {}).items()
        if "description" not in schema
    ]
    assert silent == []


@pytest.mark.parametrize("takes", [["image"], ("image", "document"), frozenset({"image"}), ()])
def test_what_a_proposer_takes_is_written_and_read_again(takes):
    with SimulatedProviders() as providers:
        llm = providers.openai("gpt-4.1")
    text = json.dumps(to_data(moa([Proposer(llm, takes=takes)], llm, layers=1)))
    (layer,) = loads(text, "json", need_keys=False).layers
    assert set(layer.proposers[0].takes or ()) == set(takes)
