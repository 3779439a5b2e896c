"""What one piece of a streamed answer costs, from the provider's socket to the caller."""

from peers import Peer
from report import Report
from rig import Entry, Rig, Setup, cpu_over, middle

PIECES = 50
ROUNDS = {1: 15, 50: 5, 500: 2}
"""Streams at once, and how often they are measured."""
BARE, MIXTURE = "OpenAI.astream_chat", "mixture"
CALM, SERVER = "mixture, calm collector", "mixture, over our server, calm collector"


def run(rig: Rig, _peers: dict[Peer, str], *, quick: bool) -> Report:
    """A stream of the aggregator alone beside that of a mixture with one proposer, whose answer is short."""
    report = Report("streams")
    proposer, writer = "gpt-4o-mini", "gpt-4o"
    rig.sim.configure(proposer, reply="Short.")
    rig.sim.configure(writer, reply="word " * PIECES)
    setup = Setup(client="ours", proposers=(proposer,), aggregator=writer, layers=1)
    rows: list[tuple[str, float, float]] = []
    with (
        rig.worker("llama_index_openai", setup) as llms,
        rig.worker("llama_index_openai", setup, loop="uvloop+gc") as calm,
        rig.worker("rooms", setup, loop="uvloop+gc") as rooms,
    ):
        entries = (
            Entry(BARE, llms, "stream of the aggregator"),
            Entry(MIXTURE, llms, "stream"),
            Entry(CALM, calm, "stream"),
            Entry(SERVER, rooms, "server, streamed"),
        )
        for level, rounds in {1: 1}.items() if quick else ROUNDS.items():
            samples = rig.interleave(entries, rounds, level, level)
            for name, found in samples.items():
                cpu = middle([sample.cpu for sample in found]) / level / PIECES * 1e6
                rows.append((f"{name}, {level} at once", cpu, cpu_over(found, samples[BARE])))
    report.table(
        "Streams",
        ("", "CPU per piece, microseconds", "over OpenAI.astream_chat"),
        rows,
        f"Over shared clients, at 0 ms a call; an answer of {PIECES} pieces, the proposer's one call included. "
        "The rows with a server include its client's CPU. Medians of ratios of interleaved samples.",
    )
    return report
