"""A user's script, checked by pyright and mypy (make types): what docstrings allow, types allow too."""

from llama_index.core.llms.llm import LLM

from llama_index.packs.mixture_of_agents import (
    Aggregator,
    Layer,
    MixtureOfAgents,
    MixtureOfAgentsPack,
    MixtureResult,
    Proposer,
    Recipe,
)
from llama_index.packs.mixture_of_agents.policies import Budget, Limits
from llama_index.packs.mixture_of_agents.presets import (
    cascade,
    council,
    moa_lite,
    rank,
    self_moa,
    vote,
)
from llama_index.packs.mixture_of_agents.recipe import Estimate, moa
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
moa(llm, Aggregator(other, temperature=0.2), fallbacks=other, select=[Take(2), Rank(llm)])
moa_lite(llms, llm, seed=1)
self_moa(llm, samples=3, fence=True)
vote(llm, samples=3)
rank(llms, judge=other)
council(llms, aggregator=llm, placement="user")
cascade(llm, moa(llms, other))
pack = MixtureOfAgentsPack(llm, [llm], quorum=1, budget=Budget(usd=1.0), select=Take(2))
answer: str = pack.run("Is it?", temperature=0.1)
result: MixtureResult = MixtureOfAgentsPack(llm=llm, proposers=llms, layers=2).run_detailed(
    "Is it?"
)
estimate: Estimate = moa(llms, llm).estimate("Is it?")
mixture: LLM = MixtureOfAgents(moa([llm], llm))
MixtureOfAgents(llm=llm, proposers=[llm], layers=1, system_prompt="Be brief.")
MixtureOfAgents(llm=Aggregator(llm), proposers=[Proposer(other)], num_layers=1, grace=1.0)
MixtureOfAgents(aggregator=llm, reference_llms=llms, timeout=10.0)

moa([llm], llm, quorom=1)  # type: ignore[call-arg]
moa([llm], llm, deadline="soon")  # type: ignore[arg-type]
Layer("gpt-4.1")  # type: ignore[arg-type]
MixtureOfAgentsPack(llm, [llm], quorom=1)  # type: ignore[call-arg]
MixtureOfAgentsPack(llm, [llm], grace="a while")  # type: ignore[arg-type]
MixtureOfAgents(llm=llm, proposers=[llm], quorom=1)  # type: ignore[call-arg]
MixtureOfAgents(llm=llm, proposers=[llm], seed="x")  # type: ignore[arg-type]
