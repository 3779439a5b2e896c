"""A result as HTML, for a notebook or as a page of its own: self-contained, without scripts, light or dark."""

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from llama_index.packs.mixture_of_agents.events import CallFinished

from .rows import COLUMNS, footnotes, name_of, one_line, printable, problems, remark, rows

if TYPE_CHECKING:
    from llama_index.packs.mixture_of_agents.result import MixtureResult

_DARK = "--ink:#e6e6e6;--soft:#a8a8a8;--line:#4a4a4a;--back:#1e1e1e;--panel:#2a2a2a;--bad:#ff8a65;--mark:#ffb74d"
_LIGHT = "--ink:#1f1f1f;--soft:#606060;--line:#d0d0d0;--back:#ffffff;--panel:#f5f5f5;--bad:#b3400e;--mark:#8a5300"
# JupyterLab and VS Code set attributes for their theme; elsewhere the browser's own setting counts.
_STYLE = f"""
.moa-result{{{_LIGHT};color:var(--ink);background:var(--back);border:1px solid var(--line);border-radius:6px;
padding:12px 16px;font:14px/1.5 system-ui,sans-serif;max-width:60em;text-align:left}}
@media(prefers-color-scheme:dark){{.moa-result{{{_DARK}}}}}
[data-jp-theme-light="true"] .moa-result,.vscode-light .moa-result{{{_LIGHT}}}
[data-jp-theme-light="false"] .moa-result,.vscode-dark .moa-result{{{_DARK}}}
.moa-result .question{{white-space:pre-wrap;overflow-wrap:anywhere;font-weight:600;margin-bottom:8px}}
.moa-result .text{{white-space:pre-wrap;overflow-wrap:anywhere}}
.moa-result .warn{{color:var(--bad);font-weight:600;margin-bottom:8px}}
.moa-result .soft{{color:var(--soft);font-size:12px;margin:2px 0}}
.moa-result details{{border:1px solid var(--line);border-radius:4px;background:var(--panel);margin:4px 0;
padding:4px 10px}}
.moa-result summary{{cursor:pointer}}
.moa-result h4{{margin:12px 0 4px;font-size:13px;color:var(--soft);font-weight:600}}
.moa-result .scroll{{overflow-x:auto}}
/* More specific than Jupyter's own rules for tables. */
.moa-result .scroll table{{border-collapse:collapse;margin:4px 0;font-size:13px;color:var(--ink);background:none}}
.moa-result .scroll table tr{{background:none}}
.moa-result .scroll th,.moa-result .scroll td{{padding:2px 10px;text-align:left;white-space:nowrap;border:0;
background:none;color:inherit}}
.moa-result .scroll td:nth-child(2){{white-space:normal;overflow-wrap:anywhere;min-width:8em}}
.moa-result .scroll th{{color:var(--soft);font-weight:normal;border-bottom:1px solid var(--line)}}
.moa-result .scroll .n{{text-align:right;font-variant-numeric:tabular-nums}}
.moa-result .scroll .critical td{{color:var(--mark);font-weight:600}}
.moa-result .scroll .failed td{{color:var(--bad)}}
.moa-result .scroll .total td{{border-top:1px solid var(--line);font-weight:600}}
"""
_DOCUMENT_STYLE = """
:root{color-scheme:light dark;background:#ffffff}
@media(prefers-color-scheme:dark){:root{background:#1e1e1e}}
body{margin:16px}
.moa-result{margin:0 auto}
"""
_LONGEST_TITLE = 80


def page(result: "MixtureResult") -> str:
    """A result as a piece of HTML.

    Args:
        result: The result.

    Returns:
        One ``div``. Every text in it that a model or a user wrote is escaped.
    """
    return f'<div class="moa-result"><style>{_STYLE}</style>{"".join(_parts(result))}</div>'


def document(result: "MixtureResult") -> str:
    """A result as a whole HTML document, to be saved as a file.

    Args:
        result: The result.

    Returns:
        The document; its title is the question.
    """
    title = one_line(printable(result.question), _LONGEST_TITLE) or "A mixture of agents"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_DOCUMENT_STYLE}</style>\n</head>\n"
        f"<body>\n{page(result)}\n</body>\n</html>\n"
    )


def _parts(result: "MixtureResult") -> Iterator[str]:
    if result.question:
        yield f'<div class="question">{escape(result.question)}</div>'
    for problem in problems(result):
        yield f'<div class="warn">{escape(problem)}</div>'
    yield f'<div class="text">{escape(result.answer)}</div>'
    for layer in result.layers:
        proposers = [call for call in layer.calls if call.role != "aggregator"]
        if proposers:
            yield f"<h4>layer {layer.layer}</h4>"
            yield from (_call(call) for call in proposers)
    for note in result.notes:
        yield (
            f"<details><summary>layer {note.layer}: {escape(note.topic)}</summary>"
            f'<div class="text">{escape(str(note.data))}</div></details>'
        )
    yield '<h4>calls</h4><div class="scroll"><table><tr>'
    yield "".join(f"<th{_number(place)}>{title}</th>" for place, title in enumerate(COLUMNS))
    yield "</tr>"
    for row in rows(result):
        names = {"failed": row.failed, "critical": row.critical, "total": row.place == "total"}
        cells = (f"<td{_number(n)}>{escape(cell)}</td>" for n, cell in enumerate(row.cells))
        yield f'<tr class="{" ".join(n for n, holds in names.items() if holds)}">{"".join(cells)}</tr>'
    yield "</table></div>"
    yield "".join(f'<div class="soft">{escape(note)}</div>' for note in footnotes(result))


def _number(column: int) -> str:
    return ' class="n"' if 2 <= column <= 5 else ""


def _call(call: CallFinished) -> str:
    """A call to unfold: its proposals, or its failure."""
    facts = ", ".join(filter(None, (f"{call.elapsed:.2f} s", remark(call))))
    head = f"<summary>{escape(name_of(call))} <span class='soft'>{escape(facts)}</span></summary>"
    if call.failure:
        return (
            f'<details>{head}<div class="text warn">{escape(call.failure.message)}</div></details>'
        )
    thought = (
        f'<details><summary class="soft">thinking</summary><div class="text soft">{escape(p.thinking)}</div></details>'
        if p.thinking
        else ""
        for p in call.proposals
    )
    texts = (f'<div class="text">{escape(p.text)}</div>' for p in call.proposals)
    bodies = "<hr>".join(a + b for a, b in zip(thought, texts, strict=True))
    return f"<details>{head}{bodies}</details>"
