"""What takes an LLM takes a mixture: query engines, chat engines, agents, evaluators, over the wire."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.agent.workflow import (
    AgentStream,
    AgentWorkflow,
    FunctionAgent,
    ReActAgent,
    ToolCallResult,
)
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.base.response.schema import StreamingResponse
from llama_index.core.evaluation import CorrectnessEvaluator, PairwiseComparisonEvaluator
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.query_engine import (
    CitationQueryEngine,
    RouterQueryEngine,
    SubQuestionQueryEngine,
)
from llama_index.core.question_gen import LLMQuestionGenerator
from llama_index.core.schema import Document
from llama_index.core.selectors import LLMSingleSelector, PydanticSingleSelector
from llama_index.core.tools import FunctionTool, QueryEngineTool
from pydantic import BaseModel

from llama_index.packs.mixture_of_agents import MixtureOfAgents
from llama_index.packs.mixture_of_agents.simulation import (
    Reply,
    SimulatedProviders,
    ToolCall,
    call_tools,
)
from llama_index.packs.mixture_of_agents.simulation.conversation import text_of

# LlamaIndex's own code still uses what pydantic and its own workflows would like to see go.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step"),
]

AGGREGATOR = "gpt-4.1"
PROPOSERS = ("gpt-4.1-mini", "mistral-small-latest")
PARIS = "Paris is the capital of France."
ROME = "Rome is the capital of Italy."


@pytest.fixture
def llm(providers: SimulatedProviders) -> MixtureOfAgents:
    proposers = [providers.openai(PROPOSERS[0]), providers.mistral(PROPOSERS[1])]
    return MixtureOfAgents(llm=providers.openai(AGGREGATOR), proposers=proposers, num_layers=1)


@pytest.fixture
def index() -> VectorStoreIndex:
    documents = [Document(text=PARIS), Document(text=ROME)]
    return VectorStoreIndex.from_documents(documents, embed_model=MockEmbedding(embed_dim=8))


def answers(providers: SimulatedProviders, *replies: str | Reply, model: str = AGGREGATOR) -> None:
    providers.configure(model, reply=list(replies))


def prompts(providers: SimulatedProviders, model: str) -> list[str]:
    """All that each request to a model said."""
    return ["\n".join(map(text_of, r.body["messages"])) for r in providers.log(model)]


# --- query engines -----------------------------------------------------------------------------------------------


async def test_a_query_engine_over_an_index_answers_in_every_way(
    providers: SimulatedProviders, llm: MixtureOfAgents, index: VectorStoreIndex
) -> None:
    answers(providers, "It is Paris.")
    engine = index.as_query_engine(llm=llm)
    assert str(engine.query("What is the capital of France?")) == "It is Paris."
    assert str(await engine.aquery("What is the capital of France?")) == "It is Paris."
    streaming = index.as_query_engine(llm=llm, streaming=True)
    response = streaming.query("What is the capital of France?")
    assert isinstance(response, StreamingResponse)
    assert list(response.response_gen) == ["", "It", " is", " Paris.", "", "", ""]
    stream: Any = await streaming.aquery("What is the capital of France?")
    assert "".join([token async for token in stream.response_gen]) == "It is Paris."
    for model in (*PROPOSERS, AGGREGATOR):
        said = prompts(providers, model)
        assert len(said) == 4
        assert all(PARIS in text and ROME in text for text in said)


async def test_a_query_engine_fills_in_a_class(
    providers: SimulatedProviders, llm: MixtureOfAgents, index: VectorStoreIndex
) -> None:
    class Capital(BaseModel):
        city: str

    answers(providers, '{"city": "Paris"}')
    engine = index.as_query_engine(llm=llm, output_cls=Capital, response_mode="tree_summarize")
    response: Any = await engine.aquery("What is the capital of France?")
    assert response.response == Capital(city="Paris")
    assert "response_format" not in providers.log(PROPOSERS[0])[0].body


def test_a_sub_question_engine_asks_and_joins(
    providers: SimulatedProviders, llm: MixtureOfAgents, index: VectorStoreIndex
) -> None:
    questions = [
        {"sub_question": f"What of {name}?", "tool_name": "capitals"} for name in ("A", "B")
    ]
    generated = f"```json\n{json.dumps({'items': questions})}\n```"
    answers(providers, generated, "of A", "of B", "joined")
    tool = QueryEngineTool.from_defaults(
        index.as_query_engine(llm=llm), name="capitals", description="Capitals"
    )
    engine = SubQuestionQueryEngine.from_defaults(
        [tool], question_gen=LLMQuestionGenerator.from_defaults(llm=llm), llm=llm, use_async=False
    )
    response = engine.query("What of A and B?")
    assert str(response) == "joined"
    texts = [node.text for node in response.source_nodes]
    assert any("Sub question: What of A?\nResponse: of A" in text for text in texts)
    assert any("Sub question: What of B?\nResponse: of B" in text for text in texts)


@pytest.mark.parametrize(
    ("selector", "chosen"),
    [
        (LLMSingleSelector, '[{"choice": 2, "reason": "fits"}]'),
        (
            PydanticSingleSelector,
            call_tools(ToolCall("SingleSelection", {"index": 2, "reason": "fits"})),
        ),
    ],
)
def test_a_router_chooses_an_engine(
    providers: SimulatedProviders,
    llm: MixtureOfAgents,
    index: VectorStoreIndex,
    selector: Any,
    chosen: str | Reply,
) -> None:
    answers(providers, chosen, "from the second")
    tools = [
        QueryEngineTool.from_defaults(index.as_query_engine(llm=llm), description=text)
        for text in ("for sums", "for capitals")
    ]
    engine = RouterQueryEngine.from_defaults(
        tools, llm=llm, selector=selector.from_defaults(llm=llm), select_multi=False
    )
    response = engine.query("What is the capital of France?")
    assert str(response) == "from the second"
    metadata = response.metadata or {}
    assert [selection.index for selection in metadata["selector_result"].selections] == [1]


def test_a_citation_engine_numbers_its_sources_apart_from_the_references(
    providers: SimulatedProviders, llm: MixtureOfAgents, index: VectorStoreIndex
) -> None:
    answers(providers, "Paris [1].")
    engine = CitationQueryEngine.from_args(index, llm=llm)
    response = engine.query("What is the capital of France?")
    assert str(response) == "Paris [1]."
    (said,) = prompts(providers, AGGREGATOR)
    assert "Source 1:\n" in said
    assert said.index("Responses from models:\n1. ") < said.index("Source 1:")


# --- chat engines ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mode", ["simple", "context", "condense_plus_context", "condense_question"]
)
async def test_a_chat_engine_keeps_several_turns(
    providers: SimulatedProviders, llm: MixtureOfAgents, index: VectorStoreIndex, mode: Any
) -> None:
    providers.configure(
        AGGREGATOR,
        rules=[("standalone question", "What is the capital of Italy?")],
        reply="An answer.",
    )
    memory = ChatMemoryBuffer.from_defaults(llm=llm)
    engine = index.as_chat_engine(chat_mode=mode, llm=llm, memory=memory)
    assert str(engine.chat("What is the capital of France?")) == "An answer."
    assert str(await engine.achat("And of Italy?")) == "An answer."
    assert "".join(engine.stream_chat("And of Spain?").response_gen) == "An answer."
    stream = await engine.astream_chat("And of Malta?")
    assert "".join([token async for token in stream.async_response_gen()]) == "An answer."
    asked = [message.content for message in engine.chat_history if message.role == "user"]
    assert asked == [
        "What is the capital of France?",
        "And of Italy?",
        "And of Spain?",
        "And of Malta?",
    ]
    said = prompts(providers, PROPOSERS[1])[-1]
    assert ("France?" in said) == (mode != "condense_question")


# --- agents ------------------------------------------------------------------------------------------------------


def temperature(city: str) -> int:
    """Tell how warm it is in a city, in degrees Celsius."""
    return {"Paris": 18}[city]


def to_fahrenheit(celsius: int) -> float:
    """Turn degrees Celsius into degrees Fahrenheit."""
    return celsius * 9 / 5 + 32


TOOLS = [FunctionTool.from_defaults(temperature), FunctionTool.from_defaults(to_fahrenheit)]
CALLS = (
    call_tools(ToolCall("temperature", {"city": "Paris"})),
    call_tools(ToolCall("to_fahrenheit", {"celsius": 18})),
)
THOUGHTS = (
    'Thought: I need a tool.\nAction: temperature\nAction Input: {"city": "Paris"}',
    'Thought: I need another.\nAction: to_fahrenheit\nAction Input: {"celsius": 18}',
    "Thought: I can answer.\nAnswer: It is 64.4 degrees Fahrenheit.",
)
ANSWER = "It is 64.4 degrees Fahrenheit."


async def run_agent(agent: Any) -> tuple[str, Sequence[Any], str]:
    """An agent's answer, the results of its tools, and what it streamed."""
    handler = agent.run("How warm is it in Paris, in Fahrenheit?")
    events = [event async for event in handler.stream_events()]
    results = [
        event.tool_output.raw_output for event in events if isinstance(event, ToolCallResult)
    ]
    streamed = "".join(event.delta for event in events if isinstance(event, AgentStream))
    return str(await handler), results, streamed


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_function_agent_uses_two_tools_in_turn(
    providers: SimulatedProviders, llm: MixtureOfAgents, streaming: bool
) -> None:
    answers(providers, *CALLS, ANSWER)
    agent = FunctionAgent(tools=TOOLS, llm=llm, system_prompt="Be exact.", streaming=streaming)
    answer, results, streamed = await run_agent(agent)
    assert (answer, results) == (ANSWER, [18, 64.4])
    assert streamed == (ANSWER if streaming else "")
    for model in PROPOSERS:
        said = prompts(providers, model)
        assert len(said) == 3
        assert all(text.startswith("Be exact.\n\nYou advise an assistant") for text in said)
        assert "- to_fahrenheit(celsius: integer): Turn degrees" in said[0]
        assert "(The assistant's tool to_fahrenheit returned:)\n\n64.4" in said[2]
        assert "tools" not in providers.log(model)[2].body
    last = providers.log(AGGREGATOR)[2].body["messages"]
    assert [m["role"] for m in last] == ["system", "user", "assistant", "tool", "assistant", "tool"]


async def test_an_agent_whose_proposers_are_asked_once_a_turn_makes_fewer_calls(
    providers: SimulatedProviders,
) -> None:
    proposers = [providers.openai(PROPOSERS[0]), providers.mistral(PROPOSERS[1])]
    aggregator = providers.openai(AGGREGATOR)
    llm = MixtureOfAgents(llm=aggregator, proposers=proposers, num_layers=1, fan_out="user_turns")
    answers(providers, *CALLS, ANSWER)
    answer, results, _ = await run_agent(FunctionAgent(tools=TOOLS, llm=llm))
    assert (answer, results) == (ANSWER, [18, 64.4])
    assert [providers.counts(model).arrived for model in (*PROPOSERS, AGGREGATOR)] == [1, 1, 3]


async def test_a_react_agent_uses_two_tools_in_turn(
    providers: SimulatedProviders, llm: MixtureOfAgents
) -> None:
    answers(providers, *THOUGHTS)
    answer, results, _ = await run_agent(ReActAgent(tools=TOOLS, llm=llm))
    assert (answer, results) == (ANSWER, [18, 64.4])
    for model in (*PROPOSERS, AGGREGATOR):
        assert "Observation: 64.4" in prompts(providers, model)[-1]


async def test_a_react_agent_needs_no_function_calling_aggregator(
    providers: SimulatedProviders,
) -> None:
    aggregator = providers.mistral("open-mistral-nemo")
    llm = MixtureOfAgents(llm=aggregator, proposers=[providers.openai(PROPOSERS[0])], num_layers=1)
    answers(providers, *THOUGHTS, model="open-mistral-nemo")
    workflow = AgentWorkflow.from_tools_or_functions(TOOLS, llm=llm)
    answer, results, _ = await run_agent(workflow)
    assert (answer, results) == (ANSWER, [18, 64.4])


async def test_agents_of_a_workflow_hand_over_and_use_their_tools(
    providers: SimulatedProviders, llm: MixtureOfAgents
) -> None:
    hand_over = call_tools(ToolCall("handoff", {"to_agent": "converter", "reason": "sums"}))
    answers(providers, CALLS[0], hand_over, CALLS[1], ANSWER)
    weather = FunctionAgent(
        name="weather",
        description="knows the weather",
        tools=TOOLS[:1],
        llm=llm,
        can_handoff_to=["converter"],
    )
    converter = FunctionAgent(name="converter", description="converts", tools=TOOLS[1:], llm=llm)
    workflow = AgentWorkflow(agents=[weather, converter], root_agent="weather")
    answer, results, streamed = await run_agent(workflow)
    assert (answer, streamed) == (ANSWER, ANSWER)
    assert [result for result in results if not isinstance(result, str)] == [18, 64.4]


# --- evaluators --------------------------------------------------------------------------------------------------


async def test_a_mixture_judges_pairs_and_answers(
    providers: SimulatedProviders, llm: MixtureOfAgents
) -> None:
    answers(providers, "[[A]] is better.")
    judge = PairwiseComparisonEvaluator(llm=llm, enforce_consensus=False)
    result = await judge.aevaluate(
        query="Capital of France?", response="Paris", second_response="Rome"
    )
    assert (result.score, result.passing) == (1.0, True)
    assert "act as an impartial judge" in prompts(providers, PROPOSERS[0])[-1]
    answers(providers, "4.5\nIt is right.")
    judged = await CorrectnessEvaluator(llm=llm).aevaluate(
        query="Capital of France?", response="Paris", reference="Paris"
    )
    assert (judged.score, judged.passing) == (4.5, True)


def test_a_mixture_predicts_and_streams_prompts(
    providers: SimulatedProviders, llm: MixtureOfAgents
) -> None:
    from llama_index.core.prompts import ChatPromptTemplate

    answers(providers, "one two")
    prompt = ChatPromptTemplate([ChatMessage("Be {how}.", role="system"), ChatMessage("Why?")])
    assert llm.predict(prompt, how="brief") == "one two"
    assert list(llm.stream(prompt, how="brief"))[:3] == ["", "one", " two"]
    assert prompts(providers, PROPOSERS[0]) == ["Be brief.\nWhy?"] * 2
