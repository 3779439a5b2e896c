"""What the server and the batch add to a mixture that is asked without them."""

from peers import Peer
from report import Report
from rig import Entry, Rig, Setup, middle

LATENCY = 0.1
REPLY = "An answer of some words, as models give them. " * 12
DOORS = ("server", "responses", "messages")
SERVED = ("directly", "bare server", *DOORS)
STREAMED = ("directly, streamed", *(f"{door}, streamed" for door in DOORS))
MOST_OVER_CHAT = 1.2
BATCHES = ("bare batch", "batch")
NAMES = {
    "directly": "a question, asked directly",
    "bare server": "over a FastAPI route of one line",
    "server": "over our server",
    "responses": "over our server, Responses API",
    "messages": "over our server, Messages API",
    "directly, streamed": "a question, asked directly, streamed",
    "server, streamed": "over our server, streamed",
    "responses, streamed": "over our server, Responses API, streamed",
    "messages, streamed": "over our server, Messages API, streamed",
    "bare batch": "gather with a semaphore",
    "batch": "our batch, its answers in a file",
}


def run(rig: Rig, _peers: dict[Peer, str], *, quick: bool) -> Report:
    """All in one process, and in turns: server, client and mixture share its event loop and its CPU."""
    report = Report("rooms")
    rounds = 2 if quick else 40
    with rig.worker("rooms", Setup(client="ours"), loop="uvloop+gc") as worker:
        rig.sim.configure("*", reply=REPLY)
        served, batches = (
            [Entry(name, worker, name) for name in names]
            for names in ((*SERVED, *STREAMED), BATCHES)
        )
        found = {
            **rig.interleave(served, rounds, runs=4),
            **rig.interleave(batches, rounds // 2),
        }
        rig.sim.configure("*", reply=REPLY, latency=LATENCY)
        walls = {} if quick else {**rig.interleave(served, 20), **rig.interleave(batches, 8)}
    calls = served[0].calls
    cpu = {
        name: middle([s.cpu / s.arrived for s in samples]) * calls * 1e3
        for name, samples in found.items()
    }
    wall = {name: middle([s.wall for s in samples]) for name, samples in walls.items()}
    for title, names, note in (
        ("The server", SERVED, "The rows with a server include the client's CPU."),
        ("The server, streaming", STREAMED, "An answer has about 110 pieces."),
        ("The batch", BATCHES, "40 questions, 10 at once."),
    ):
        plain = names[0]
        report.table(
            title,
            ("", "CPU per question, ms", "more, ms", "wall time over the first row's"),
            [
                (
                    NAMES[name],
                    cpu[name],
                    cpu[name] - cpu[plain] if name != plain else None,
                    wall[name] / wall[plain] if wall else None,
                )
                for name in names
            ],
            f"6 proposers x 2 layers + aggregator over shared clients; CPU at 0 ms a call, wall time at {LATENCY * 1e3:.0f} "
            f"ms; interleaved. {note}",
        )
    for door in DOORS[1:]:
        for kind in ("", ", streamed"):
            over = cpu[door + kind] / cpu[f"server{kind}"]
            report.target(f"{NAMES[door + kind]}: CPU over chat completions", over, MOST_OVER_CHAT)
    return report
