"""Records as tables for the terminal."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TextIO

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table

__all__ = ["deals", "faults", "live", "schedules", "summary", "unit_details", "units"]

Record = dict[str, Any]

MODE_COLOURS = {"run": "green", "soft-stop": "yellow", "force-stop": "red", "manual": "cyan"}
LEVEL_COLOURS = {"warn": "yellow", "error": "red", "fatal": "bold red"}
STANDING = "[red]the clock of this grid stands: its values may be old[/]"
LEGEND = "★ grid master   ⏚ voltage reference"
STATE_COLOURS = {
    "running": "green",
    "completed": "dim",
    "aborted": "yellow",
    "scrammed": "red",
}


def units(records: Sequence[Record]) -> None:
    """Print how the units are; ★ marks the grid master, ⏚ the voltage reference."""
    _print(_units_table(records), LEGEND)
    if any(unit.get("clock_stands") for unit in records):
        _print(STANDING)


def _units_table(records: Sequence[Record]) -> Table:
    table = _table("unit", "mode", ">SoC", "band", "converter", ">V", ">A", "deals", "remarks")
    for unit in records:
        if "mode" not in unit:
            table.add_row(unit["unit_id"], "[red]not heard[/]")
            continue
        marks = " ★" * unit["is_grid_master"] + " ⏚" * unit["holds_reference"]
        remarks = [_age(unit), *unit["fault_codes"], unit["not_dealing_reason"]]
        table.add_row(
            unit["unit_id"] + marks,
            _coloured(unit["mode"], MODE_COLOURS),
            _number(unit["soc_ratio"], scale=100.0, digits=0, suffix=" %"),
            escape(unit["battery_band"]),
            unit["converter_mode"].lower().replace("_", " "),
            _number(unit["grid_voltage_v"], digits=1),
            _number(unit["grid_current_a"], digits=2),
            str(len(unit["deal_ids"]) or ""),
            escape(", ".join(filter(None, remarks))),
        )
    return table


def _age(unit: Record) -> str:
    """What a reader must know before he believes the numbers of a row."""
    if not unit.get("is_old"):
        return ""
    said_s, read_s = unit["age_s"], unit["converter_age_s"]
    if said_s is not None and (read_s is None or read_s - said_s < said_s):
        return f"[red]not heard for {said_s:.0f} s[/]"
    return f"[red]converter read {read_s:.0f} s ago[/]"


def unit_details(records: Sequence[Record]) -> None:
    """Print every unit's battery, house and converter."""
    table = _table(
        "unit", ">SoC", ">stored Wh", ">to come Wh", ">sun W", ">load W", ">mains W", "converter",
        ">V", ">A", ">W", ">°C", ">taken Wh", ">given Wh",
    )  # fmt: skip
    for unit in records:
        table.add_row(
            unit["unit_id"],
            _number(unit["soc_ratio"], scale=100.0, digits=0, suffix=" %"),
            _number(unit["remaining_wh"], digits=0),
            _number(unit["committed_wh"], digits=0),
            *(_number(unit[f"{key}_power_w"], digits=0) for key in ("solar", "load", "mains")),
            unit["converter_mode"].lower().replace("_", " "),
            _number(unit["grid_voltage_v"], digits=1),
            _number(unit["grid_current_a"], digits=2),
            _number(unit["grid_power_w"], digits=0),
            _number(unit["converter_temp_degc"], digits=0),
            _number(unit["grid_charged_wh"], digits=0),
            _number(unit["grid_discharged_wh"], digits=0),
        )
    _print(table)


def faults(records: Sequence[Record]) -> None:
    """Print what went wrong; ● marks what is not over."""
    if not records:
        _print("no faults")
        return
    table = _table("", "at", "unit", "level", "code", "message")
    for fault in records:
        table.add_row(
            "●" if fault["is_present"] else "",
            (fault["at"] or "")[11:19],
            fault["unit_id"],
            _coloured(fault["level"], LEVEL_COLOURS),
            fault["code"],
            escape(fault["message"]),
        )
    _print(table, "● not over")


def schedules(records: Sequence[Record]) -> None:
    """Print the Soft stops that are to come."""
    if not records:
        _print("no soft stop is scheduled")
        return
    table = _table("at", "of", "by")
    for order in records:
        at = order["at"][:16].replace("T", " ")
        table.add_row(at, order["unit_id"] or "the whole cluster", order["by"])
    _print(table)


@contextmanager
def live() -> Iterator[Callable[[Sequence[Record], Sequence[Record], str], None]]:
    """A picture that is drawn anew by each call with units, running deals and the time.

    On a terminal it stays in its place; a pipe or a file gets one table after the other, whenever
    something else than the time has changed.
    """
    if not _console().is_terminal:
        yield _one_after_another()
        return
    with Live(console=_console(), auto_refresh=False) as screen:

        def show(units: Sequence[Record], deals: Sequence[Record], clock: str) -> None:
            below = _deals_table(deals) if deals else "no deals under way"
            if any(unit.get("clock_stands") for unit in units):
                clock = f"{clock}  {STANDING}"
            screen.update(Group(clock, _units_table(units), LEGEND, "", below), refresh=True)

        yield show


def _one_after_another() -> Callable[[Sequence[Record], Sequence[Record], str], None]:
    before: tuple[Sequence[Record], Sequence[Record]] | None = None

    def show(units: Sequence[Record], deals: Sequence[Record], clock: str) -> None:
        nonlocal before
        if before != (units, deals):
            before = (units, deals)
            below = _deals_table(deals) if deals else "no deals under way"
            _print(clock, _units_table(units), LEGEND, "", below, "")
            sys.stdout.flush()
        elif _is_unread(sys.stdout):
            raise BrokenPipeError

    return show


def _is_unread(stream: TextIO) -> bool:
    """Whether nobody is left at the other end of a pipe."""
    poll = select.poll()
    poll.register(stream.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def deals(records: Sequence[Record]) -> None:
    """Print the deals."""
    if not records:
        _print("no deals")
        return
    _print(_deals_table(records))


def _deals_table(records: Sequence[Record]) -> Table:
    table = _table(
        "began", "state", "from", "to", ">A", ">pt/Wh", ">agreed Wh", ">sent", ">received",
        "reason",
    )  # fmt: skip
    is_one_day = len({(deal["created_at"] or "")[:10] for deal in records}) == 1
    for deal in records:
        began = (deal["created_at"] or "")[:19].replace("T", " ")
        table.add_row(
            began[11:] if is_one_day else began[5:],
            _coloured(deal["state"], STATE_COLOURS),
            deal["discharge_unit_id"],
            deal["charge_unit_id"],
            _number(deal["current_a"], digits=1),
            _number(deal["price_point_per_wh"], digits=1),
            _number(deal["agreed_wh"], digits=0),
            _number(deal["sent_wh"], digits=1),
            _number(deal["received_wh"], digits=1),
            escape(deal["reason"]),
        )
    return table


def summary(report: Record) -> None:
    """Print what came of a simulation."""
    deals(report["deals"])
    _phases(report["deals"])
    _response_times(report["response_times"])
    for fault in report["faults"]:
        where = f"{fault['unit_id']} ({fault['extent']}, {fault['level']})"
        _print(
            f"{(fault['at'] or '')[11:19]}  {where}  {fault['code']}: {escape(fault['message'])}"
        )
    if report["sim_seconds"] is None:  # nothing came up; the runner has said why
        _print("[red]the grid did not start[/]")
        return
    on = [unit for unit, mode in report["converters"].items() if mode != "WAIT"]
    states = [deal["state"] for deal in report["deals"]]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    leaders = ", ".join(f"{term['term']} {term['grid_master_id']}" for term in report["terms"])
    # of a deal that broke off one side may have moved nothing, and that is no quarrel
    done = [deal for deal in report["deals"] if deal["state"] == "completed"]
    ratios = [deal["books"]["apart_ratio"] for deal in done]
    apart = [ratio for ratio in ratios if ratio is not None]
    receipts = f"; receipts agree within {max(apart):.2%}" if apart else ""
    _print(f"terms: {leaders or 'none'}{receipts}")
    simulated = _number(report["sim_seconds"], digits=0) or "no"
    _print(
        f"{simulated} s simulated in {_number(report['wall_seconds'], digits=0)} s; "
        f"deals: {counts or 'none'}; faults: {len(report['faults'])}; "
        f"lost in the lines: {_number(report['line_loss_wh'], digits=1) or '?'} Wh; "
        + (f"[red]converters not in WAIT: {', '.join(on)}[/]" if on else "all converters in WAIT")
    )


def _phases(records: Sequence[Record]) -> None:
    """Print how long the deals were in each state."""
    lengths: dict[str, list[float]] = {}
    for deal in records:
        for phase in deal["phases"]:
            if phase["seconds"] is not None:
                lengths.setdefault(phase["state"], []).append(phase["seconds"])
    if not lengths:
        return
    table = _table("phase", ">times", ">mean s", ">longest s")
    for state, seconds in lengths.items():
        mean_s = sum(seconds) / len(seconds)
        table.add_row(
            state,
            str(len(seconds)),
            _number(mean_s, digits=1),
            _number(max(seconds), digits=1),
        )
    _print(table)


def _response_times(records: Sequence[Record]) -> None:
    """Print how long drivers took, if devices were driven."""
    if not records:
        return
    table = _table(
        "driver of", "what", ">times", ">median s", ">longest s", ">may take s", ">too late"
    )
    for record in records:
        table.add_row(
            record["unit_id"],
            record["what"],
            str(record["count"]),
            _number(record["median_s"], digits=3),
            _number(record["worst_s"], digits=3),
            _number(record["budget_s"], digits=1),
            str(record["late"]),
        )
    _print(table)


def _table(*columns: str) -> Table:
    """A table; ``>`` before a column's name puts it to the right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        justify: Literal["left", "right"] = "right" if column.startswith(">") else "left"
        table.add_column(column.removeprefix(">"), justify=justify, overflow="fold")
    return table


def _number(value: float | None, *, digits: int, scale: float = 1.0, suffix: str = "") -> str:
    return "" if value is None else f"{value * scale:.{digits}f}{suffix}"


def _coloured(text: str, colours: dict[str, str]) -> str:
    return f"[{colours[text]}]{text}[/]" if text in colours else text


def _print(*things: Any) -> None:
    _console().print(*things, sep="\n")


def _console() -> Console:
    console = Console(highlight=False)
    if not console.is_terminal:  # a file or a pipe has no width to fit into
        console.width = 200
    return console
