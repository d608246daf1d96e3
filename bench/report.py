"""What was measured, against its bar: a table for people, JSON for machines."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

__all__ = ["Report", "cpu_s"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report.

    Attributes:
        name: part.quantity.
        bar: What it should be: at least, or at most, depending on the figure; None = for
            information.
        ok: Whether it is.
    """

    name: str
    value: float
    unit: str
    bar: float | None
    ok: bool


@dataclass(slots=True)
class Report:
    """Collects figures."""

    figures: list[Figure] = field(default_factory=list)
    _notes: dict[str, str] = field(default_factory=dict)

    def at_least(self, name: str, value: float, unit: str, bar: float, note: str = "") -> None:
        """A figure that must not be below its bar."""
        self._add(Figure(name, value, unit, bar, value >= bar), f"≥ {bar:g}", note)

    def at_most(self, name: str, value: float, unit: str, bar: float, note: str = "") -> None:
        """A figure that must not be above its bar."""
        self._add(Figure(name, value, unit, bar, value <= bar), f"≤ {bar:g}", note)

    def tell(self, name: str, value: float, unit: str, note: str = "") -> None:
        """A figure without a bar."""
        self._add(Figure(name, value, unit, None, True), "", note)

    def _add(self, figure: Figure, bar: str, note: str) -> None:
        self.figures.append(figure)
        self._notes[figure.name] = f"{bar}|{note}"

    def show(self, console: Console) -> None:
        """Print the table."""
        table = Table(box=None, pad_edge=False)
        for head, side in (
            ("figure", "left"),
            ("value", "right"),
            ("unit", "left"),
            ("bar", "right"),
            ("", "left"),
            ("how", "left"),
        ):
            table.add_column(head, justify=side)  # type: ignore[arg-type]
        for figure in self.figures:
            bar, _, note = self._notes[figure.name].partition("|")
            mark = "" if figure.bar is None else "ok" if figure.ok else "[red]missed[/]"
            value = f"{figure.value:,.4g}" if abs(figure.value) < 1e5 else f"{figure.value:,.0f}"
            table.add_row(figure.name, value, figure.unit, bar, mark, note)
        console.print(table)

    def write(self, file: Path) -> None:
        """Write the JSON list; figures of parts that were not measured now stay as they were."""
        old = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
        new = [asdict(figure) for figure in self.figures]
        measured = {figure["name"].partition(".")[0] for figure in new}
        kept = [f for f in old if f["name"].partition(".")[0] not in measured]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(kept + new, indent=1) + "\n", encoding="utf-8")


def cpu_s(work: Callable[[], object], *, tries: int = 1) -> float:
    """Processor time of this thread for a piece of work, the best of some tries. [s]

    Not wall time: what else the machine does would be in it.
    """
    best_s = float("inf")
    for _ in range(tries):
        start_s = time.thread_time()
        work()
        best_s = min(best_s, time.thread_time() - start_s)
    return best_s
