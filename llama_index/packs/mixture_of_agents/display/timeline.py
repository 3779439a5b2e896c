"""When each call of a run ran: a plotly figure (extra ``plot``)."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from llama_index.packs.mixture_of_agents.events import CallFinished

from .rows import held_up, money, name_of, one_line, remark, tokens

if TYPE_CHECKING:
    from llama_index.packs.mixture_of_agents.result import MixtureResult

# Okabe and Ito's colours, which colour-blind readers can tell apart: https://jfly.uni-koeln.de/color/
_COLOURS = {"proposer": "#56B4E9", "judge": "#CC79A7", "aggregator": "#009E73", "failed": "#D55E00"}
_LONGEST_TITLE = 80


def timeline(result: "MixtureResult") -> Any:
    """Draw all calls of a run as bars over its seconds; the slowest of each layer of proposers has an edge.

    Args:
        result: The run.

    Returns:
        A ``plotly.graph_objects.Figure``.

    Raises:
        ImportError: plotly is not installed.
    """
    try:
        import plotly.graph_objects as go  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        pip = 'pip install "llama-index-packs-mixture-of-agents[plot]"'
        raise ImportError(f"the timeline is drawn by plotly: {pip}") from error
    figure: Any = go.Figure()
    for kind, colour in _COLOURS.items():
        calls = [call for call in result.calls if _kind(call) == kind]
        if calls:
            figure.add_trace(_bars(go, result, calls, kind, colour))
    firsts = [call for call in result.calls if call.first_token is not None]
    if firsts:
        figure.add_trace(_first_tokens(go, firsts))
    figure.add_trace(_edges(go, held_up(result)))
    _lay_out(figure, result)
    return figure


def _lay_out(figure: Any, result: "MixtureResult") -> None:
    """Give the figure its title, axes, legend and colours, which fit a light and a dark page."""
    places = [_place(call) for call in result.calls]
    order = {"categoryorder": "array", "categoryarray": places, "autorange": "reversed"}
    figure.update_layout(
        title=escape(one_line(result.question, _LONGEST_TITLE)),
        xaxis_title="seconds",
        yaxis={**order, "ticksuffix": " "},
        barmode="overlay",
        height=180 + 28 * len(places),
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"},
        margin={"b": 80},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": "#888"},
    )
    grid = {"gridcolor": "rgba(128,128,128,0.25)", "zeroline": False}
    figure.update_xaxes(range=[0, result.elapsed * 1.02], **grid)
    figure.update_yaxes(**grid)


def _kind(call: CallFinished) -> str:
    return "failed" if call.failure else call.role


def _place(call: CallFinished) -> str:
    """A unique name for each bar, with its HTML escaped."""
    role = f"layer {call.layer}" if call.role == "proposer" else call.role
    return f"{role}: {escape(name_of(call))}" + "\u200b" * call.call


def _bars(
    go: Any, result: "MixtureResult", calls: list[CallFinished], kind: str, colour: str
) -> Any:
    return go.Bar(
        name=kind,
        orientation="h",
        y=[_place(call) for call in calls],
        base=[call.started for call in calls],
        x=[call.elapsed for call in calls],
        marker={"color": colour},
        hovertext=[_hover_text(result, call) for call in calls],
        hoverinfo="text",
    )


def _hover_text(result: "MixtureResult", call: CallFinished) -> str:
    sent, received = tokens(call.usage)
    lines = [
        name_of(call),
        f"{call.elapsed:.2f} s, from {call.started:.2f} to {call.ended:.2f}",
        f"{sent} tokens in, {received} out, US $ {money(result.cost_of(call))}",
        remark(call),
        call.failure.message if call.failure else "",
    ]
    return "<br>".join(escape(line) for line in lines if line)


def _first_tokens(go: Any, calls: list[CallFinished]) -> Any:
    return go.Scatter(
        name="first token",
        mode="markers",
        x=[call.first_token for call in calls],
        y=[_place(call) for call in calls],
        marker={"symbol": "line-ns-open", "size": 18, "color": "#888"},
        hoverinfo="name+x",
    )


def _edges(go: Any, calls: Sequence[CallFinished]) -> Any:
    return go.Bar(
        name="slowest of its layer",
        orientation="h",
        y=[_place(call) for call in calls],
        base=[call.started for call in calls],
        x=[call.elapsed for call in calls],
        marker={"color": "rgba(0,0,0,0)", "line": {"color": "#E69F00", "width": 3}},
        hoverinfo="skip",
    )
