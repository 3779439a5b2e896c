"""What a suite found: tables and targets, as JSON and as Markdown."""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

Cell = str | float | int | None


@dataclass(frozen=True)
class Table:
    """A table; numbers are rounded only where it is printed."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""


@dataclass(frozen=True)
class Target:
    """Something promised: at most, or at least, so much."""

    what: str
    measured: float
    bound: float
    at_least: bool = False
    unit: str = "x"

    @property
    def met(self) -> bool:
        """Whether the promise is kept."""
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound


def machine() -> dict[str, Any]:
    """When and where it was measured."""
    names = ("llama-index-core", "llama-index-llms-openai", "openai", "httpx", "aiohttp", "uvloop")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "versions": {name: _version(name) for name in names},
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "-"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")


@dataclass
class Report:
    """Everything that one suite found, and when and where."""

    suite: str
    machine: dict[str, Any] = field(default_factory=machine)
    tables: list[Table] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)

    def table(self, *args: Any, **kwargs: Any) -> None:
        """Add a table."""
        self.tables.append(Table(*args, **kwargs))

    def target(self, *args: Any, **kwargs: Any) -> None:
        """Add a target."""
        self.targets.append(Target(*args, **kwargs))


def to_json(reports: Sequence[Report]) -> dict[str, Any]:
    """Plain data."""
    return {"suites": [asdict(report) for report in reports]}


def merged(saved: Path, reports: Sequence[Report], order: Sequence[str]) -> list[Report]:
    """What was measured now, and what was saved of the suites that were not."""
    known = json.loads(saved.read_text())["suites"] if saved.exists() else []
    found = {one["suite"]: _from_json(one) for one in known}
    found |= {report.suite: report for report in reports}
    return [found[name] for name in order if name in found]


def _from_json(data: dict[str, Any]) -> Report:
    return Report(
        data["suite"],
        data["machine"],
        [Table(**table) for table in data["tables"]],
        [Target(**target) for target in data["targets"]],
    )


def to_markdown(reports: Sequence[Report], level: int = 2) -> str:
    """Tables: first the targets, then everything."""
    parts: list[str] = []
    targets = [(target, report) for report in reports for target in report.targets]
    if targets:
        rows = [
            (
                t.what,
                f"{'≥' if t.at_least else '≤'} {t.bound:g} {t.unit}",
                _shown(t.measured),
                _yes(t.met),
                report.machine["date"],
            )
            for t, report in targets
        ]
        parts.append(_markdown(Table("", ("promised", "bound", "measured", "kept", "day"), rows)))
    for report in reports:
        parts += [f"{'#' * level} Suite `{report.suite}`", _words(report.machine)]
        for table in report.tables:
            parts += [f"{'#' * (level + 1)} {table.title}", _markdown(table)]
            parts += [table.note] if table.note else []
    return "\n\n".join(parts) + "\n"


def _words(where: dict[str, Any]) -> str:
    used = ", ".join(f"{name} {number}" for name, number in where["versions"].items())
    return (
        f"Measured on {where['date']}: Python {where['python']}, {where['system']}, {where['cores']} cores "
        f"({where['processor']}), load before it {where['load']}; {used}."
    )


def _yes(met: bool) -> str:
    return "yes" if met else "**no**"


def _markdown(table: Table) -> str:
    lines = ["| " + " | ".join(name or "case" for name in table.columns) + " |"]
    lines.append(
        "| " + " | ".join("---" if i == 0 else "---:" for i in range(len(table.columns))) + " |"
    )
    lines += ["| " + " | ".join(_shown(cell) for cell in row) + " |" for row in table.rows]
    return "\n".join(lines)


def _shown(cell: Cell) -> str:
    if cell is None:
        return "-"
    if not isinstance(cell, float):
        return str(cell)
    if abs(cell) >= 100:
        return f"{cell:.0f}"
    return f"{cell:.1f}" if abs(cell) >= 10 else f"{cell:.2f}" if abs(cell) >= 1 else f"{cell:.3f}"


def python_of(environment: Path) -> Path:
    """The interpreter of a virtual environment."""
    return environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def quietly(command: Sequence[str]) -> str:
    """Run a command; what it complained about if it failed, else nothing."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else (done.stderr or done.stdout)[-2000:]
