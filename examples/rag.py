"""A mixture in a query engine: every proposer reads the retrieved passages, the aggregator writes from both.

python examples/rag.py          with simulated models
python examples/rag.py --real   with OPENAI_API_KEY and MISTRAL_API_KEY
"""

from _models import providers
from llama_index.core import Document, MockEmbedding, VectorStoreIndex
from llama_index.llms.mistralai import MistralAI
from llama_index.llms.openai import OpenAI

from llama_index.packs.mixture_of_agents import MixtureOfAgents

HANDBOOK = [
    "Larkspur Observatory is open to visitors from October to March, on Fridays from 19:00.",
    "Children under twelve come in free; everyone else pays 6 euros at the gate.",
    "The large telescope is closed to visitors while it snows; the planetarium stays open.",
]
QUESTION = "When can we come in winter, and what does it cost for two adults and a child?"

# What the simulated models say where the passage they need is in their prompt.
SCRIPT = {
    "gpt-4.1-mini": {"rules": [("Fridays from 19:00", "You can come on Fridays from 19:00.")]},
    "mistral-small-latest": {
        "rules": [("pays 6 euros", "You can come on Fridays from 19:00. It costs 12 euros in all.")]
    },
}


def main() -> None:
    """Ask the handbook, whole and streamed."""
    llm = MixtureOfAgents(
        llm=OpenAI(model="gpt-4.1"),
        proposers=[OpenAI(model="gpt-4.1-mini"), MistralAI(model="mistral-small-latest")],
        num_layers=1,
    )
    # The embedding model comes from elsewhere; this one needs no network and finds every passage.
    index = VectorStoreIndex.from_documents(
        [Document(text=text) for text in HANDBOOK], embed_model=MockEmbedding(embed_dim=8)
    )
    print(f"Question: {QUESTION}\n")
    response = index.as_query_engine(llm=llm, similarity_top_k=3).query(QUESTION)
    print(f"Answer: {response}\n")
    print(f"It was written from {len(response.source_nodes)} passages of the handbook.\n")

    print("The same, streamed: ", end="")
    engine = index.as_query_engine(llm=llm, similarity_top_k=3, streaming=True)
    engine.query(QUESTION).print_response_stream()  # type: ignore[union-attr]
    print()


if __name__ == "__main__":
    with providers(SCRIPT):
        main()
