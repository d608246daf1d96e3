"""What became of stories: a table for people, JSON for programs, and a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from apis_core.model.types import ConverterMode
from apis_simulator.scenario.judge import Verdict
from apis_simulator.scenario.runner import Result

__all__ = ["as_data", "draw", "table", "write_json"]

SCHEMA = "apis-scenario-report/1"
WIDEST = 70  # characters of a column


def table(result: Result) -> str:
    """Expectation, what was seen, ok or not."""
    rows = [("expectation", "seen", "")]
    rows += [(v.expectation, v.seen, "ok" if v.holds else "NOT OK") for v in result.verdicts]
    widths = [min(max(len(row[k]) for row in rows), WIDEST) for k in range(2)]
    lines = [f"{result.story.source}: {result.story.title}"]
    for row in rows:
        parts = [_wrapped(row[k], widths[k]) for k in range(2)]
        for number in range(max(map(len, parts))):
            cells = [part[number] if number < len(part) else "" for part in parts]
            verdict = row[2] if number == 0 else ""
            lines.append(f"  {cells[0]:<{widths[0]}}  {cells[1]:<{widths[1]}}  {verdict}".rstrip())
    return "\n".join(lines)


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def as_data(result: Result) -> dict[str, Any]:
    """Facts and verdicts; the same story and seed give the same, to the byte."""
    facts, story = result.facts, result.story
    return {
        "file": story.source,
        "title": story.title,
        "seed": story.seed,
        "run_s": story.run_s,
        "units": list(story.units),
        "digest": result.digest,
        "holds": result.holds,
        "verdicts": [_verdict(each) for each in result.verdicts],
        "deals": [
            _deal(result, number, deal_id) for number, deal_id in enumerate(result.deal_ids, 1)
        ],
        "faults": [
            {
                "at_s": round(time_s, 3),
                "unit": fault.unit_id,
                "reporter": fault.reporter_id,
                "category": fault.category.name,
                "extent": fault.extent.name,
                "level": fault.level.name,
                "code": fault.code,
                "message": fault.message,
            }
            for time_s, fault in facts.faults
        ],
        "modes": {unit: _changes(result, unit) for unit in story.units},
        "bus_v": _bus(result),
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "expectation": verdict.expectation,
        "seen": verdict.seen,
        "holds": verdict.holds,
    }


def _deal(result: Result, number: int, deal_id: str) -> dict[str, Any]:
    facts = result.facts.deal_facts.get(deal_id)
    told = facts.told if facts else []
    last = told[-1][1] if told else None
    return {
        "number": number,
        "states": [
            {"at_s": round(time_s, 3), "state": deal.state.name, "reason": deal.reason}
            for index, (time_s, deal) in enumerate(told)
            if index == 0 or deal.state is not told[index - 1][1].state
        ],
        "refused": facts.refused if facts else "",
        "moved_wh": last.moved_wh if last else 0.0,
        "sent_wh": last.sent_wh if last else None,
        "received_wh": last.received_wh if last else None,
        "true_sent_wh": facts.true_sent_wh if facts else 0.0,
        "true_received_wh": facts.true_received_wh if facts else 0.0,
    }


def _changes(result: Result, unit_id: str) -> list[dict[str, Any]]:
    """When a converter changed its mode."""
    modes, times = result.facts.records[unit_id].modes, result.facts.times_s
    return [
        {"at_s": round(times[index], 3), "mode": ConverterMode(mode).name}
        for index, mode in enumerate(modes)
        if index == 0 or mode != modes[index - 1]
    ]


def _bus(result: Result) -> list[list[float]]:
    """Time and voltage, about once a second."""
    facts, rows, next_s = result.facts, [], 0.0
    for index, time_s in enumerate(facts.times_s):
        if time_s >= next_s:
            rows.append([round(time_s, 3), round(facts.highest_v(index), 3)])
            next_s = time_s + 1.0
    return rows


def write_json(results: Sequence[Result], path: Path) -> None:
    """All stories of one call in one file.

    Raises:
        OSError: It cannot be written.
    """
    content = {
        "schema": SCHEMA,
        "holds": all(result.holds for result in results),
        "scenarios": [as_data(result) for result in results],
    }
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def draw(result: Result, path: Path) -> None:
    """Bus voltage, currents, modes and deals over time.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: The file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    facts, story = result.facts, result.story
    times = list(facts.times_s)
    figure = Figure(figsize=(11.0, 9.0), layout="constrained")
    FigureCanvasAgg(figure)
    bus, current, mode, deals = figure.subplots(4, 1, sharex=True)
    bus.plot(times, [facts.highest_v(index) for index in range(len(times))], color="black")
    bus.set_ylabel("bus [V]")
    bus.set_title(story.title)
    for unit_id, record in facts.records.items():
        current.plot(times, list(record.current_a), label=unit_id, drawstyle="steps-post")
        mode.plot(times, list(record.modes), label=unit_id, drawstyle="steps-post")
    current.set_ylabel("current [A]")
    current.legend(loc="upper right", fontsize="small", ncols=2)
    active = [each for each in ConverterMode if each is not ConverterMode.UNKNOWN]
    mode.set_yticks([int(each) for each in active], [each.name.lower() for each in active])
    for number, deal_id in enumerate(result.deal_ids, 1):
        known = facts.deal_facts.get(deal_id)
        told = known.told if known else []
        for index, (time_s, deal) in enumerate(told):
            end_s = told[index + 1][0] if index + 1 < len(told) else story.length_s
            if not deal.state.is_over:
                colour = f"C{int(deal.state)}"
                deals.barh(number, end_s - time_s, left=time_s, color=colour, height=0.6)
            elif not told[index - 1][1].state.is_over:
                deals.text(time_s, number, deal.state.name.lower(), fontsize="small", va="center")
    deals.set_yticks(range(1, len(result.deal_ids) + 1))
    deals.set_ylabel("deal")
    deals.set_xlabel("time [s]")
    deals.set_xlim(0.0, story.length_s)
    for event in story.events:
        for axis in (bus, current, mode, deals):
            axis.axvline(event.at_s, color="red", linewidth=0.8, linestyle=":")
    figure.savefig(path, dpi=100, metadata={"Software": None})
