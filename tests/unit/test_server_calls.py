"""The pieces of an answer's tool calls, put into an order in which one call follows another."""

import pytest

from llama_index.packs.mixture_of_agents.server.call_pieces import CallPiece, CallsInTurn


def pieces(*texts: tuple[int, str]) -> list[CallPiece]:
    begun = set[int]()
    made = []
    for index, text in texts:
        named = () if index in begun else (f"id{index}", f"tool{index}")
        begun.add(index)
        made.append(CallPiece(index, *(named or ("", "")), text))
    return made


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ([(0, '{"a"'), (0, ": 1}"), (1, "{}")], [(0, '{"a"'), (0, ": 1}"), (1, "{}")]),
        ([(0, '{"a"'), (1, "{"), (0, ": 1}"), (1, "}")], [(0, '{"a"'), (0, ": 1}"), (1, "{"), (1, "}")]),
        ([(1, "{"), (1, "}"), (0, "{}")], [(0, "{}"), (1, "{}")]),
        ([(0, " "), (0, "{}")], [(0, " {}")]),
        ([(0, "no json"), (1, "{}")], []),
        ([(0, '{"a": oops}'), (1, "{}")], [(0, '{"a": oops}')]),
    ],
    ids=["in turn", "mixed", "backwards", "blank", "prose", "broken"],
)  # fmt: skip
def test_calls_are_sent_one_after_the_other_and_none_before_the_last_is_complete(given, sent):
    turn = CallsInTurn()
    found = [one for piece in pieces(*given) for one in turn.take(piece)]
    assert [(one.index, one.arguments) for one in found] == sent
    for index in {one.index for one in found}:
        first, *others = [one for one in found if one.index == index]
        assert (first.id, first.name) == (f"id{index}", f"tool{index}")
        assert all((one.id, one.name) == ("", "") for one in others)


def test_what_is_left_of_a_call_is_known_at_the_end():
    turn = CallsInTurn()
    for piece in pieces((0, '{"a": '), (1, "{}")):
        list(turn.take(piece))
    assert turn.left(0, '{"a": 1}') == "1}"
    assert turn.left(1, "{}") is None
