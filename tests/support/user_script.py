"""A user's script, type-checked by test_recipe: what docstrings allow, types allow too."""

from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents import (
    Aggregator,
    Layer,
    MixtureOfAgents,
    MixtureOfAgentsPack,
    Proposer,
    Recipe,
)
from llama_index.packs.mixture_of_agents.policies import Budget, Limits
from llama_index.packs.mixture_of_agents.presets import council, moa_lite, self_moa, vote
from llama_index.packs.mixture_of_agents.recipe import moa
from llama_index.packs.mixture_of_agents.selection import Rank, Take
from llama_index.packs.mixture_of_agents.testing import ScriptedLLM

llm = ScriptedLLM("yes", model="one")
other: LLM = ScriptedLLM("no", model="two")
llms = [llm, other]

Layer((llm,))
Layer([llm, Proposer(other, samples=2)], quorum=1, select=Take(1))
Layer(llm, select=[Take(2), Rank(llm)])
Recipe([Layer(llms), llms], aggregator=llm, fallbacks=[other], deadline=10.0)
Recipe((Layer((llm,)),), Aggregator(llm), budget=Budget(tokens=10_000))
moa([llm], llm, layers=3, quorum=1, limits=Limits(in_flight=4), temperature=None)
moa_lite(llms, llm, seed=1)
self_moa(llm, samples=3, fence=True)
vote(llm, samples=3)
council(llms, llm, placement="user")
answer: str = MixtureOfAgentsPack(llm, [llm], quorum=1).run("Is it?")
mixture: LLM = MixtureOfAgents(moa([llm], llm))
MixtureOfAgents(llm=llm, proposers=[llm], layers=1)

moa([llm], llm, quorom=1)  # pyright: ignore[reportCallIssue]
moa([llm], llm, deadline="soon")  # pyright: ignore[reportArgumentType]
Layer("gpt-4.1")  # pyright: ignore[reportArgumentType]
