"""The limits of keys: what a file says of them, and what is left of them."""

import sqlite3

import pytest

from llama_index.packs.mixture_of_agents import ConfigError
from llama_index.packs.mixture_of_agents.config import read_text, server_keys
from llama_index.packs.mixture_of_agents.server import ApiKey, create_app
from llama_index.packs.mixture_of_agents.server.key_usage import KeyUsage
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

NOON = 86_400 * 20_000 + 43_200.0


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


async def test_so_many_requests_are_admitted_in_any_sixty_seconds(clock):
    ledger = KeyUsage(clock=clock)
    assert await ledger.admit("a", 2, None) is None
    clock.now += 50
    assert await ledger.admit("a", 2, None) is None
    refused = await ledger.admit("a", 2, None)
    assert refused
    assert (refused.limit, refused.seconds) == ("requests_per_minute", 10)
    assert await ledger.admit("b", 2, None) is None
    clock.now += 10
    assert await ledger.admit("a", 2, None) is None
    again = await ledger.admit("a", 2, None)
    assert again
    assert again.seconds == 50  # a refused request does not count


async def test_dollars_count_until_the_day_ends_in_utc(clock):
    ledger = KeyUsage(clock=clock)
    ledger.spend("a", 0.4)
    assert await ledger.admit("a", None, 0.5) is None
    ledger.spend("a", 0.1)
    refused = await ledger.admit("a", None, 0.5)
    assert refused
    assert (refused.limit, refused.seconds) == ("usd_per_day", 43_200)
    assert await ledger.admit("b", None, 0.5) is None
    clock.now += 43_200
    assert await ledger.admit("a", None, 0.5) is None


async def test_two_ledgers_over_one_file_count_together_and_a_later_one_goes_on(tmp_path, clock):
    file = tmp_path / "kept.sqlite3"
    one, other = KeyUsage(file, clock), KeyUsage(file, clock)
    assert await one.admit("a", 1, 1.0) is None
    assert await other.admit("a", 1, 1.0)
    other.spend("a", 1.0)
    await other.admit("b", 1, None)
    later = await KeyUsage(file, clock).admit("a", 1, 1.0)
    assert later
    assert later.limit == "usd_per_day"


async def test_a_file_that_is_no_database_is_an_error_and_nothing_is_admitted(tmp_path):
    file = tmp_path / "kept.sqlite3"
    file.write_text("no database at all " * 100)
    with pytest.raises((sqlite3.Error, RuntimeError)):
        await KeyUsage(file).admit("a", 1, None)


def test_a_file_names_keys_by_the_variables_that_hold_them(monkeypatch):
    monkeypatch.setenv("ALICE_KEY", "the-secret")
    document = read_text(
        '[server.keys.alice]\nkey = "$ALICE_KEY"\nrequests_per_minute = 60\nusd_per_day = 5\n'
    )
    ((name, (secret, table)),) = server_keys(document).items()
    assert (name, secret) == ("alice", "the-secret")
    assert (table.requests_per_minute, table.usd_per_day) == (60, 5)
    assert server_keys(read_text("")) == {}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('key = "sk-secret"', "moa.toml:2: server.keys.alice.key: say the environment variable"),
        ("requests_per_minute = 60", "server.keys.alice.key: say the environment variable"),
        ('key = "$NOBODY_HAS_IT"', "the environment variable NOBODY_HAS_IT is not set"),
        ('key = "$HOME"\nusd_per_day = 0', "moa.toml:3: server.keys.alice.usd_per_day: "),
        ('key = "$HOME"\nrequests_per_minute = 0.5', "server.keys.alice.requests_per_minute: "),
        ('key = "$HOME"\ndollars = 1', "server.keys.alice.dollars: there is no such field"),
    ],
)
def test_a_wrong_table_of_a_key_is_told_with_its_line_and_without_the_key(line, said):
    with pytest.raises(ConfigError) as told:
        server_keys(read_text(f"[server.keys.alice]\n{line}\n", name="moa.toml"))
    assert said in str(told.value)
    assert "sk-secret" not in str(told.value)


@pytest.mark.parametrize(
    "keys",
    [
        [ApiKey("a", "one"), ApiKey("a", "two")],
        [ApiKey("a", "one"), ApiKey("b", "one")],
        [ApiKey("a", "one"), "one"],
        [ApiKey("a", " ")],
    ],
    ids=["names", "keys", "bare", "empty"],
)
def test_two_keys_that_could_be_mistaken_for_each_other_are_refused(keys):
    with pytest.raises(ValueError, match="keys: ") as told:
        create_app({"one": ScriptedLLM("a")}, keys=keys)
    assert "'one'" not in str(told.value)


def test_a_key_does_not_show_itself_and_its_limits_are_positive():
    assert "the-secret" not in repr(ApiKey("alice", "the-secret"))
    with pytest.raises(ValueError, match="usd_per_day = 0: must be more than 0"):
        ApiKey("alice", "the-secret", usd_per_day=0)
