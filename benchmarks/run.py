"""The benchmarks: everything that is compared takes turns in one run, and only ratios within it count.

python benchmarks/run.py                    all of it (an hour)
python benchmarks/run.py --quick            the same in small, but for growth and scaling (under a minute)
python benchmarks/run.py single tail        some of it
python benchmarks/run.py --vs               with other people's mixtures, installed under .venvs/
python benchmarks/run.py --save             the results also to results.json and docs/performance-notes.md, where what was saved of
                                            suites that did not run stays
"""

import argparse
import importlib
import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

SUITES = (
    "single",
    "in_flight",
    "scaling",
    "tail",
    "growth",
    "features",
    "rooms",
    "streams",
    "startup",
    "batches",
    "evaluation",
)
BEGIN, END = "<!-- results -->", "<!-- end of results -->"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(SUITES))
    parser.add_argument(
        "--quick", action="store_true", help="fewer rounds: a look, not a measurement"
    )
    parser.add_argument(
        "--vs", nargs="*", metavar="PEER", help="with other people's mixtures: all, or these"
    )
    parser.add_argument(
        "--save", action="store_true", help="write results.json and docs/performance-notes.md"
    )
    asked = parser.parse_args()
    wrong = set(asked.suites) - set(SUITES)
    if wrong:
        parser.error(f"no such suite: {', '.join(sorted(wrong))}")

    if asked.quick and asked.save:
        parser.error("a quick look is no measurement: save one without --quick")

    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, (str(HERE), os.environ.get("PYTHONPATH")))
    )
    import peers

    unknown = set(asked.vs or ()) - {peer.name for peer in peers.KNOWN}
    if unknown:
        known = ", ".join(peer.name for peer in peers.KNOWN)
        parser.error(f"no such peer: {', '.join(sorted(unknown))}; there is {known}")
    from report import merged, to_json, to_markdown
    from rig import Rig

    reports = []
    against = {} if asked.vs is None else peers.pythons(asked.vs)
    with Rig.started() as rig:
        for name in asked.suites or SUITES:
            print(f"measuring: {name}", file=sys.stderr, flush=True)
            rig.sim.reset()
            suite = importlib.import_module(f"suites.{name}")
            reports.append(suite.run(rig, against, quick=asked.quick))
    print(to_markdown(reports))
    if asked.save:
        saved = HERE / "results.json"
        reports = merged(saved, reports, SUITES)
        saved.write_text(json.dumps(to_json(reports), indent=1) + "\n")
        _write_page(to_markdown(reports, level=3))


def _write_page(results: str) -> None:
    page = HERE.parent / "docs" / "performance-notes.md"
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n\n{results}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
