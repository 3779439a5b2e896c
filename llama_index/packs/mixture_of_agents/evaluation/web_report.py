"""The report as one HTML page: self-contained, light or dark, printable. Needs plotly."""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable, Iterator, Sequence
from html import escape
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from .tables import (
    ARM_TITLES,
    PAIR_TITLES,
    arm_row,
    ceiling_lines,
    is_share,
    judging_lines,
    main_pairs,
    pair_row,
    points,
)

if TYPE_CHECKING:
    from .scorecard import ArmScore, Evaluation, Record

MOST_RECORDS = 100
"""Questions that are shown of each kind."""
_BLUE, _ORANGE, _GREY = (
    "#0072B2",
    "#D55E00",
    "#808080",
)  # Okabe and Ito's: https://jfly.uni-koeln.de/color/
_SHORT = 12  # letters of a name that fit below a column on a desktop
_WORSE_TO_BETTER = [
    (0.0, "rgba(213,94,0,0.6)"),
    (0.5, "rgba(128,128,128,0)"),  # no difference has the page's own colour, light or dark
    (1.0, "rgba(0,114,178,0.6)"),
]
_STYLE = """
:root{color-scheme:light dark;--ink:#1f1f1f;--soft:#606060;--line:#d0d0d0;--back:#ffffff;--panel:#f5f5f5}
@media(prefers-color-scheme:dark){:root{--ink:#e6e6e6;--soft:#a8a8a8;--line:#4a4a4a;--back:#1e1e1e;--panel:#2a2a2a}}
@media print{:root{--ink:#000;--soft:#444;--line:#aaa;--back:#fff;--panel:#fff}.figure,details{break-inside:avoid}}
html{overflow-y:scroll} /* figures measure the width that is left beside a scroll bar */
body{margin:16px auto;max-width:64em;padding:0 12px;font:15px/1.5 system-ui,sans-serif;color:var(--ink);
background:var(--back)}
h1{font-size:20px}h2{font-size:16px;margin-top:28px}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:13px}
th,td{padding:3px 10px;text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
th:first-child,td:first-child{text-align:left}
th{color:var(--soft);font-weight:normal;border-bottom:1px solid var(--line)}
.soft{color:var(--soft);font-size:13px}
details{border:1px solid var(--line);border-radius:4px;background:var(--panel);margin:4px 0;padding:4px 10px}
summary{cursor:pointer;overflow-wrap:anywhere}
pre{white-space:pre-wrap;overflow-wrap:anywhere;font:13px/1.5 system-ui,sans-serif;margin:4px 0 8px}
.js-plotly-plot text{fill:var(--ink)!important}
@media print{.scroll{overflow:visible}table{font-size:11px}th,td{padding:2px 6px}th,td:first-child{white-space:normal}}
"""


def page(evaluation: "Evaluation") -> str:
    """The whole page. Every text in it that a model or a user wrote is escaped.

    Raises:
        ImportError: plotly is not installed.
    """
    parts = "\n".join(_parts(evaluation))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Is the mixture worth its money?</title>\n<style>{_STYLE}</style>\n"
        f"<script>{_plotly_js()}</script>\n</head>\n<body>\n<main>\n{parts}\n</main>\n</body>\n</html>\n"
    )


def _plotly_js() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def _parts(evaluation: "Evaluation") -> Iterator[str]:
    yield f"<h1>{escape(evaluation.conclusion)}</h1>"
    scored = f"{evaluation.questions:,} questions, scored by {evaluation.scorer}."
    yield f'<p class="soft">{escape(scored)}</p>'
    yield _table("Arms", ARM_TITLES, [arm_row(evaluation, arm) for arm in evaluation.arms])
    for title, name in (("US dollars a question", "usd"), ("seconds a question", "seconds")):
        yield _figure(f"Score against {title}", quality(evaluation, title, attrgetter(name)))
    pairs = main_pairs(evaluation)
    if pairs:
        yield "<h2>Pairs</h2>"
        yield _table("Pairs", PAIR_TITLES, [pair_row(evaluation, pair) for pair in pairs])
        yield _figure("Each arm's difference to each other arm", matrix(evaluation))
    if evaluation.ceiling and len(evaluation.ceiling.members) > 1:
        yield "<h2>Why it is so</h2>"
        yield from (f"<p>{escape(x)}</p>" for x in ceiling_lines(evaluation, evaluation.ceiling))
    if evaluation.judging:
        yield "<h2>Judges</h2>"
        yield from (f"<p>{escape(x)}</p>" for x in judging_lines(evaluation, evaluation.judging))
    notes = [*evaluation.remarks, *([evaluation.stopped] if evaluation.stopped else [])]
    yield from (f'<p class="soft">Note: {escape(note)}.</p>' for note in notes)
    yield from _won_and_lost(evaluation)


def _table(name: str, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    scroll = f'<div class="scroll" tabindex="0" role="region" aria-label="{name}">'
    return f"{scroll}<table><tr>{head}</tr>{body}</table></div>"


def _figure(name: str, figure: Any) -> str:
    drawn: str = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        config={"displaylogo": False, "responsive": True, "displayModeBar": False},
    )
    return f'<div class="figure" role="img" aria-label="{name}">{drawn}</div>'


def pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of (cost, quality) those that no other one beats in both, the cheapest first."""
    front: list[tuple[float, float]] = []
    for cost, quality in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or quality > front[-1][1]:
            front.append((cost, quality))
    return front


def quality(
    evaluation: "Evaluation", title: str, value: Callable[["ArmScore"], float | None]
) -> Any:
    """The arms' scores with their intervals against what they take, and the Pareto front."""
    import plotly.graph_objects as go

    scale = 100 if is_share(evaluation) else 1
    arms = [arm for arm in evaluation.arms if arm.kind != "oracle" and value(arm) is not None]
    places = [(value(arm) or 0.0, scale * arm.score) for arm in arms]
    front = pareto(places)
    figure: Any = go.Figure(layout=_layout(title, "score, %" if scale == 100 else "score"))
    figure.add_scatter(
        x=[x for x, _ in front], y=[y for _, y in front], mode="lines", name="Pareto front",
        line={"color": _GREY, "dash": "dot"}, hoverinfo="skip",
    )  # fmt: skip
    highs = [scale * (arm.interval.high - arm.score) if arm.interval else 0 for arm in arms]
    lows = [scale * (arm.score - arm.interval.low) if arm.interval else 0 for arm in arms]
    figure.add_scatter(
        x=[x for x, _ in places], y=[y for _, y in places], mode="markers+text", name="arms",
        text=[_label(arm.name) for arm in arms], textposition=label_sides([x for x, _ in places]),
        cliponaxis=False,
        marker={"size": 10, "color": [_ORANGE if arm.kind == "mixture" else _BLUE for arm in arms]},
        error_y={"array": highs, "arrayminus": lows, "color": _GREY},
    )  # fmt: skip
    if evaluation.ceiling:
        figure.add_hline(
            scale * evaluation.ceiling.oracle, line={"color": _GREY, "dash": "dash"},
            annotation_text="oracle of the members",
        )  # fmt: skip
    return figure


def _label(name: str) -> str:
    """A name in two lines, where it says how often a member is asked."""
    return escape(name).replace(", ", ",<br>")


def label_sides(places: Sequence[float]) -> list[str]:
    """Where each label stands: beside its interval, and towards the figure's middle, so that none is cut off."""
    middle = (min(places, default=0.0) + max(places, default=0.0)) / 2
    return ["top left" if place > middle else "top right" for place in places]


def matrix(evaluation: "Evaluation") -> Any:
    """Each arm's difference to each other; a star where it is no chance."""
    import plotly.graph_objects as go

    names = [arm.name for arm in evaluation.arms if arm.kind != "oracle"]
    pairs = {(pair.first, pair.second): pair for pair in evaluation.pairs}
    pairs |= {(pair.second, pair.first): pair.seen_from(pair.second) for pair in evaluation.pairs}
    scale = 100 if is_share(evaluation) else 1
    values = [
        [scale * pairs[a, b].difference if (a, b) in pairs else None for b in names] for a in names
    ]
    words = [[_cell(evaluation, pairs.get((a, b))) for b in names] for a in names]
    largest = max((abs(value) for row in values for value in row if value), default=1)
    figure: Any = go.Figure(layout=_layout("less this arm", ""))
    shown = [_label(name) for name in names]
    slant = -45 if max(map(len, names), default=0) > _SHORT else 0
    figure.add_heatmap(
        x=shown, y=shown, z=values, text=words, texttemplate="%{text}", colorscale=_WORSE_TO_BETTER,
        zmin=-largest, zmax=largest, showscale=False, hoverinfo="skip", xgap=2, ygap=2,
    )  # fmt: skip
    figure.update_layout(
        height=120 + 44 * len(names), xaxis={"showgrid": False, "tickangle": slant},
        yaxis={"autorange": "reversed", "showgrid": False},
    )  # fmt: skip
    return figure


def _cell(evaluation: "Evaluation", pair: Any) -> str:
    if pair is None:
        return ""
    return points(evaluation, pair.difference, unit=False) + ("*" if pair.better else "")


def _layout(x: str, y: str) -> dict[str, Any]:
    axis = {"gridcolor": "rgba(128,128,128,0.25)", "zeroline": False, "automargin": True}
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 16, "t": 24, "b": 8},
        "showlegend": False,
        "xaxis": {**axis, "title": {"text": x}},
        "yaxis": {**axis, "title": {"text": y}},
    }


def _won_and_lost(evaluation: "Evaluation") -> Iterator[str]:
    """The questions on which the mixture and its best rival differ, with the proposals."""
    mixture = next((arm.name for arm in evaluation.arms if arm.kind == "mixture"), "")
    rivals = [arm for arm in evaluation.arms if arm.kind != "oracle" and arm.name != mixture]
    if not mixture or not rivals:
        return
    rival = max(rivals, key=lambda arm: arm.score).name
    both = [one for one in evaluation.records if mixture in one.scores and rival in one.scores]
    won = [one for one in both if one.scores[mixture] > one.scores[rival]]
    lost = [one for one in both if one.scores[mixture] < one.scores[rival]]
    for title, records in (("won", won), ("lost", lost)):
        yield f"<h2>Where the mixture {title} against {escape(rival)}: {len(records)}</h2>"
        yield from (_record(one, mixture, rival) for one in records[:MOST_RECORDS])
        if len(records) > MOST_RECORDS:
            yield f'<p class="soft">and {len(records) - MOST_RECORDS} more, in --json</p>'


def _record(record: "Record", mixture: str, rival: str) -> str:
    right = "" if record.right is None else f" (right: {record.right})"
    texts = [(name, record.answers.get(name, "")) for name in (mixture, rival)]
    proposals = [(f"layer {p['layer']}, {p['agent']}", str(p["text"])) for p in record.proposals]
    inner = "".join(_text(name, text) for name, text in (*texts, *proposals))
    title = escape(f"{record.question[:200]}{right}")
    return f"<details><summary>{title}</summary>{inner}</details>"


def _text(name: str, text: str) -> str:
    return f'<div class="soft">{escape(name)}</div><pre>{escape(text)}</pre>'
