"""Every preset over the wire: which requests, with which messages, in which order."""

import pytest
from inline_snapshot import snapshot
from llama_index.core.base.llms.types import ChatMessage
from transcripts import transcript

from llama_index.packs.mixture_of_agents import MixtureOfAgents
from llama_index.packs.mixture_of_agents.presets import (
    PRESETS,
    best_of_n,
    cascade,
    council,
    fusion,
    moa,
    moa_lite,
    rank,
    residual,
    self_moa,
    self_moa_seq,
    sparse,
    vote,
)
from llama_index.packs.mixture_of_agents.simulation import SimulatedProviders, failure


@pytest.fixture
def models(providers: SimulatedProviders):
    """Three proposers, a judge and an aggregator, each saying something of its own."""
    mini, nano = providers.openai("gpt-4.1-mini"), providers.openai("gpt-4.1-nano")
    small = providers.mistral("mistral-small-latest")
    judge, large = providers.openai("gpt-4o"), providers.openai("gpt-4.1")
    providers.configure("gpt-4.1-mini", reply=["It is 42.", "Still 42."])
    providers.configure("gpt-4.1-nano", reply=["Six sevens are 42.", "42 it is."])
    providers.configure("mistral-small-latest", reply=["Perhaps 36?", "Now I say 42."])
    providers.configure("gpt-4.1", reply="The answer is 42.")
    return mini, nano, small, judge, large


def test_the_transcripts_cover_every_preset():
    assert set(PRESETS) == {
        "moa", "moa_lite", "self_moa", "self_moa_seq", "rank", "vote", "best_of_n", "council", "fusion", "residual",
        "sparse", "cascade",
    }  # fmt: skip
    tested = {name.removeprefix("test_").split("__")[0] for name in globals() if "__" in name}
    assert set(PRESETS) <= tested


async def test_moa__every_layer_sees_the_one_before(providers, models):
    mini, nano, small, _, large = models
    requests, result = await transcript(providers, moa([mini, nano, small], large))
    assert result.answer == "The answer is 42."
    assert requests == snapshot("""\
gpt-4.1-mini: max_tokens 2048, temperature 0.7
gpt-4.1-nano: max_tokens 2048, temperature 0.7
mistral-small-latest: max_tokens 2048, temperature 0.7
[user] What is six times seven?

== then
gpt-4.1-mini: max_tokens 2048, temperature 0.7
gpt-4.1-nano: max_tokens 2048, temperature 0.7
mistral-small-latest: max_tokens 2048, temperature 0.7
[system] <AGGREGATE_AND_SYNTHESIZE>
1. It is 42.
2. Six sevens are 42.
3. Perhaps 36?
[user] What is six times seven?

== then
gpt-4.1: max_tokens 2048, temperature 0.7
[system] <AGGREGATE_AND_SYNTHESIZE>
1. Still 42.
2. 42 it is.
3. Now I say 42.
[user] What is six times seven?
""")


async def test_moa_lite__has_one_layer_of_proposers(providers, models):
    mini, nano, small, _, large = models
    requests, result = await transcript(providers, moa_lite([mini, nano, small], large))
    assert result.answered_by == "gpt-4.1"
    assert requests == snapshot("""\
gpt-4.1-mini: max_tokens 2048, temperature 0.7
gpt-4.1-nano: max_tokens 2048, temperature 0.7
mistral-small-latest: max_tokens 2048, temperature 0.7
[user] What is six times seven?

== then
gpt-4.1: max_tokens 2048, temperature 0.7
[system] <AGGREGATE_AND_SYNTHESIZE>
1. It is 42.
2. Six sevens are 42.
3. Perhaps 36?
[user] What is six times seven?
""")


async def test_self_moa__asks_for_all_samples_in_one_request(providers, models):
    mini = models[0]
    requests, result = await transcript(providers, self_moa(mini, samples=3))
    assert len(result.proposals) == 3
    assert requests == snapshot("""\
gpt-4.1-mini: max_tokens 2048, n 3, temperature 0.7
[user] What is six times seven?

== then
gpt-4.1-mini: max_tokens 2048, temperature 0.7
[system] <AGGREGATE_AND_SYNTHESIZE>
1. It is 42.
2. Still 42.
3. Still 42.
[user] What is six times seven?
""")


async def test_self_moa__asks_once_for_each_sample_where_the_api_gives_one(providers, models):
    small = models[2]
    providers.configure("mistral-small-latest", reply="42")
    requests, _ = await transcript(providers, self_moa(small, samples=2))
    assert requests == snapshot("""\
mistral-small-latest: max_tokens 2048, temperature 0.7
mistral-small-latest: max_tokens 2048, temperature 0.7
[user] What is six times seven?

== then
mistral-small-latest: max_tokens 2048, temperature 0.7
[system] <AGGREGATE_AND_SYNTHESIZE>
1. 42
2. 42
[user] What is six times seven?
""")


async def test_self_moa_seq__slides_a_window_over_the_samples(providers, models):
    mini, _, _, _, large = models
    providers.configure("gpt-4.1-mini", reply=[f"sample {n}" for n in range(1, 7)])
    providers.configure(
        "gpt-4.1", reply=["synthesis of 1 to 3", "synthesis of 1 to 5", "the answer"]
    )
    recipe = self_moa_seq(mini, large, samples=6, window=3)
    requests, result = await transcript(providers, recipe)
    assert result.answer == "the answer"
    assert requests == snapshot("""\
gpt-4.1-mini: max_tokens 2048, n 6, temperature 0.7
[user] What is six times seven?

== then
gpt-4.1: max_tokens 2048, temperature 0.7
[system] <AGGREGATE_AND_SYNTHESIZE>
1. sample 1
2. sample 2
3. sample 3
[user] What is six times seven?

== then
gpt-4.1: max_tokens 2048, temperature 0.7
[system] <AGGREGATE_AND_SYNTHESIZE>
1. synthesis of 1 to 3
2. sample 4
3. sample 5
[user] What is six times seven?

== then
gpt-4.1: max_tokens 2048, temperature 0.7
[system] <AGGREGATE_AND_SYNTHESIZE>
1. synthesis of 1 to 5
2. sample 6
[user] What is six times seven?
""")


async def test_rank__answers_with_the_proposal_that_the_ranker_puts_first(providers, models):
    mini, nano, small, judge, _ = models
    providers.configure("gpt-4o", reply='{"ranking": [2, 1, 3]}')
    requests, result = await transcript(providers, rank([mini, nano, small], judge))
    assert (result.answer, result.answered_by) == ("Six sevens are 42.", "gpt-4.1-nano")
    assert requests == snapshot("""\
gpt-4.1-mini: max_tokens 2048, temperature 0.7
gpt-4.1-nano: max_tokens 2048, temperature 0.7
mistral-small-latest: max_tokens 2048, temperature 0.7
[user] What is six times seven?

== then
gpt-4o: max_tokens 2048, temperature 0.0
[system] <RANK>
[user] # Conversation

## user
What is six times seven?

# Responses

## Response 1
It is 42.

## Response 2
Six sevens are 42.

## Response 3
Perhaps 36?
""")


async def test_vote__answers_with_what_most_say(providers, models):
    mini, nano, small, _, _ = models
    providers.configure("gpt-4.1-nano", reply="The answer is 42")
    providers.configure("gpt-4.1-mini", reply="Answer: 42.")
    requests, result = await transcript(providers, vote([small, nano, mini]))
    assert result.answer == "The answer is 42"
    assert result.notes[0].data == {
        "votes": [["gpt-4.1-nano", "gpt-4.1-mini"], ["mistral-small-latest"]],
        "elected": ["gpt-4.1-nano"],
        "by": "majority",
    }
    assert requests == snapshot("""\
gpt-4.1-mini: max_tokens 2048, temperature 0.7
gpt-4.1-nano: max_tokens 2048, temperature 0.7
mistral-small-latest: max_tokens 2048, temperature 0.7
[user] What is six times seven?
""")


async def test_vote__asks_a_judge_where_no_answer_leads(providers, models):
    mini, nano, small, judge, _ = models
    providers.configure("gpt-4o", reply='{"most_consistent": 2}')
    requests, result = await transcript(providers, vote([mini, nano, small], judge))
    assert result.answer == "Six sevens are 42."
    assert requests == snapshot("""\
gpt-4.1-mini: max_tokens 2048, temperature 0.7
gpt-4.1-nano: max_tokens 2048, temperature 0.7
mistral-small-latest: max_tokens 2048, temperature 0.7
[user] What is six times seven?

== then
gpt-4o: max_tokens 2048, temperature 0.0
[system] <VOTE>
[user] # Conversation

## user
What is six times seven?

# Responses

## Response 1
It is 42.

## Response 2
Six sevens are 42.

## Response 3
Perhaps 36?
""")


async def test_best_of_n__rates_each_answer_by_itself(providers, models):
    mini, _, _, judge, _ = models
    providers.configure("gpt-4.1-mini", reply=["poor", "good"])
    providers.configure("gpt-4o", rules=[("good", '{"rating": 9}'), ("poor", '{"rating": 2}')])
    requests, result = await transcript(providers, best_of_n(mini, judge, samples=2))
    assert (result.answer, result.answered_by) == ("good", "gpt-4.1-mini#2")
    assert result.finish_reason == "stop"
    assert requests == snapshot("""\
gpt-4.1-mini: max_tokens 2048, n 2, temperature 0.7
[user] What is six times seven?

== then
gpt-4o: max_tokens 2048, temperature 0.0
[system] <RATE>
[user] # Conversation

## user
What is six times seven?

# Responses

## Response 1
good

gpt-4o: max_tokens 2048, temperature 0.0
[system] <RATE>
[user] # Conversation

## user
What is six times seven?

# Responses

## Response 1
poor
""")


async def test_council__members_rank_all_answers_and_the_chairman_writes(providers, models):
    mini, nano, small, _, large = models
    providers.configure("gpt-4.1-mini", reply=["It is 42.", '{"ranking": [2, 1, 3]}'])
    providers.configure("gpt-4.1-nano", reply=["Six sevens are 42.", '{"ranking": [2, 1, 3]}'])
    providers.configure("mistral-small-latest", reply=["Perhaps 36?", '{"ranking": [1, 2, 3]}'])
    requests, result = await transcript(providers, council([mini, nano, small], large))
    assert result.notes[0].data["mean_ranks"] == snapshot(
        {
            "gpt-4.1-nano": 1.3333333333333333,
            "gpt-4.1-mini": 1.6666666666666667,
            "mistral-small-latest": 3.0,
        }
    )
    assert requests == snapshot("""\
gpt-4.1-mini: max_tokens 2048, temperature 0.7
gpt-4.1-nano: max_tokens 2048, temperature 0.7
mistral-small-latest: max_tokens 2048, temperature 0.7
[user] What is six times seven?

== then
gpt-4.1-mini: max_tokens 2048, temperature 0.7
gpt-4.1-nano: max_tokens 2048, temperature 0.7
mistral-small-latest: max_tokens 2048, temperature 0.7
[system] <PEER_RANKING>
[user] # Conversation

## user
What is six times seven?

# Responses

## Response 1
It is 42.

## Response 2
Six sevens are 42.

## Response 3
Perhaps 36?

== then
gpt-4.1: max_tokens 2048, temperature 0.7
[system] <AGGREGATE_AND_SYNTHESIZE>
1. Six sevens are 42.
2. It is 42.
3. Perhaps 36?

Mean ranks of these responses, given by 3 reviewers who did not know their authors:
1. mean rank 1.33
2. mean rank 1.67
3. mean rank 3.00
[user] What is six times seven?
""")


async def test_fusion__the_aggregator_gets_the_judges_analysis(providers, models):
    mini, nano, small, judge, large = models
    analysis = (
        '{"consensus": ["1 and 2 say 42."], "contradictions": ["1 says 42, 3 says 36."], "partial_coverage": [], '
        '"unique_insights": [], "blind_spots": ["None shows the steps."]}'
    )
    providers.configure("gpt-4o", reply=f"```json\n{analysis}\n```")
    requests, result = await transcript(providers, fusion([mini, nano, small], judge, large))
    (note,) = result.notes
    assert (note.topic, note.data["blind_spots"]) == ("analysis", ["None shows the steps."])
    assert requests == snapshot("""\
gpt-4.1-mini: max_tokens 2048, temperature 0.7
gpt-4.1-nano: max_tokens 2048, temperature 0.7
mistral-small-latest: max_tokens 2048, temperature 0.7
[user] What is six times seven?

== then
gpt-4o: max_tokens 2048, temperature 0.0
[system] <ANALYSIS>
[user] # Conversation

## user
What is six times seven?

# Responses

## Response 1
It is 42.

## Response 2
Six sevens are 42.

## Response 3
Perhaps 36?

== then
gpt-4.1: max_tokens 2048, temperature 0.7
[system] <AGGREGATE_AND_SYNTHESIZE>
1. It is 42.
2. Six sevens are 42.
3. Perhaps 36?

An analysis of these responses:

What the responses agree on:
- 1 and 2 say 42.

Where they disagree:
- 1 says 42, 3 says 36.

What none of them addresses:
- None shows the steps.
[user] What is six times seven?
""")


async def test_residual__passes_on_the_layer_before_and_what_changed(providers, models):
    mini, nano, small, judge, large = models
    providers.configure("gpt-4o", reply=["- the third now says 42", "NO UPDATE"])
    recipe = residual([mini, nano, small], large, layers=4, keep=2, extractor=judge)
    requests, result = await transcript(providers, recipe, skipped=slice(5, -1))
    assert [note.data["changed"] for note in result.notes] == [True, False]
    assert requests == snapshot("""\
gpt-4.1-mini: max_tokens 2048, temperature 0.7
gpt-4.1-nano: max_tokens 2048, temperature 0.7
mistral-small-latest: max_tokens 2048, temperature 0.7
[user] What is six times seven?

== then
gpt-4.1-mini: max_tokens 2048, temperature 0.7
gpt-4.1-nano: max_tokens 2048, temperature 0.7
mistral-small-latest: max_tokens 2048, temperature 0.7
[system] <AGGREGATE_AND_SYNTHESIZE>
1. It is 42.
2. Perhaps 36?
[user] What is six times seven?

== then
gpt-4o: max_tokens 2048, temperature 0.0
[system] <RESIDUALS>
[user] # Conversation

## user
What is six times seven?

# Responses

## Response 1
It is 42.

## Response 2
Perhaps 36?

# The latest round

## Latest response 1
42 it is.

## Latest response 2
Now I say 42.

== then
gpt-4.1-mini: max_tokens 2048, temperature 0.7
gpt-4.1-nano: max_tokens 2048, temperature 0.7
mistral-small-latest: max_tokens 2048, temperature 0.7
[system] <AGGREGATE_AND_SYNTHESIZE>
1. It is 42.
2. Perhaps 36?

What a further round of responses changed:
- the third now says 42
[user] What is six times seven?

== then
gpt-4o: max_tokens 2048, temperature 0.0
[system] <RESIDUALS>
[user] # Conversation

## user
What is six times seven?

# Responses

## Response 1
42 it is.

## Response 2
Now I say 42.

# The latest round

## Latest response 1
42 it is.

## Latest response 2
Now I say 42.

== then
gpt-4.1: max_tokens 2048, temperature 0.7
[system] <AGGREGATE_AND_SYNTHESIZE>
1. 42 it is.
2. Now I say 42.
[user] What is six times seven?
""")


async def test_sparse__a_judge_picks_and_ends_the_rounds(providers, models):
    mini, nano, small, judge, large = models
    providers.configure("gpt-4o", reply='{"chosen": [1, 2], "end": true}')
    recipe = sparse([mini, nano, small], judge, large, layers=3)
    requests, _ = await transcript(providers, recipe, skipped=slice(2, -1))
    assert requests == snapshot("""\
gpt-4.1-mini: max_tokens 2048, temperature 0.7
gpt-4.1-nano: max_tokens 2048, temperature 0.7
mistral-small-latest: max_tokens 2048, temperature 0.7
[user] What is six times seven?

== then
gpt-4o: max_tokens 2048, temperature 0.0
[system] <PICK>
[user] # Conversation

## user
What is six times seven?

# Responses

## Response 1
It is 42.

## Response 2
Six sevens are 42.

## Response 3
Perhaps 36?

Choose the 2 best.

== then
gpt-4.1: max_tokens 2048, temperature 0.7
[system] <AGGREGATE_AND_SYNTHESIZE>
1. It is 42.
2. Six sevens are 42.
[user] What is six times seven?
""")


async def test_cascade__asks_nobody_else_where_the_cheap_answers_agree(providers, models):
    mini, nano, _, _, large = models
    providers.configure("gpt-4.1-nano", reply=["42", "The answer is 42.", "**42**"])
    recipe = cascade(nano, moa_lite([mini], large))
    requests, result = await transcript(providers, recipe, skipped=slice(1, None))
    assert (result.answer, result.degraded) == ("42", ())
    assert requests == snapshot("""\
gpt-4.1-nano: max_tokens 2048, n 3, temperature 0.7
[user] What is six times seven?
""")


async def test_cascade__the_mixture_starts_afresh_where_they_disagree(providers, models):
    mini, nano, _, _, large = models
    providers.configure("gpt-4.1-nano", reply=["42", "36", "42"])
    requests, result = await transcript(providers, cascade(nano, moa_lite([mini], large)))
    assert result.answer == "The answer is 42."
    assert requests == snapshot("""\
gpt-4.1-nano: max_tokens 2048, n 3, temperature 0.7
[user] What is six times seven?

== then
gpt-4.1-mini: max_tokens 2048, temperature 0.7
[user] What is six times seven?

== then
gpt-4.1: max_tokens 2048, temperature 0.7
[system] <AGGREGATE_AND_SYNTHESIZE>
1. It is 42.
[user] What is six times seven?
""")


async def test_cascade__the_mixture_answers_where_the_cheap_model_fails(providers, models):
    mini, nano, _, _, large = models
    providers.configure("gpt-4.1-nano", script=[failure(401)] * 9)
    requests, result = await transcript(providers, cascade(nano, moa_lite([mini], large)))
    assert result.answer == "The answer is 42."
    assert result.degraded[0].startswith("layer 1 has 0 of 3 proposals")
    assert requests.count("== then") == 2


def test_an_answer_without_an_aggregator_streams_as_one_piece(providers, models):
    mini, nano, _, _, large = models
    providers.configure("gpt-4.1-nano", reply="42")
    question = [ChatMessage(content="What is six times seven?")]
    for recipe in (cascade(nano, moa_lite([mini], large)), vote(nano, samples=3)):
        chunks = list(MixtureOfAgents(recipe).stream_chat(question))
        assert [chunk.delta for chunk in chunks] == ["42", ""]
        assert chunks[-1].message.content == "42"
