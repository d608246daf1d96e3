"""``python -m apis_simulator.explore``: explores on all cores; ``make explore`` calls it."""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from apis_simulator.explore.search import Result, search, told
from apis_simulator.explore.state import Budget
from apis_simulator.explore.stories import STORIES, begin

__all__ = ["CHECKED", "Task", "explore", "main"]

_MOST_STATES = 20_000_000  # a core's memory: some 250 bytes each
_KINDS = ("messages", "cuts", "deaths", "anything")


@dataclass(frozen=True, slots=True)
class Task:
    """One exploration.

    Attributes:
        story: Name of it.
        kind: Which faults: "messages" (lost, doubled, late), "cuts", "deaths", "anything".
        faults: How many of them.
        restarts: How many dead processes may come back.
        most_states: It ends after so many.
        most_s: It ends after so long. [s]
    """

    story: str
    kind: str
    faults: int = 1
    restarts: int = 0
    most_states: int = _MOST_STATES
    most_s: float = float("inf")

    @property
    def budget(self) -> Budget:
        """What may go wrong."""
        n, restarts = self.faults, self.restarts
        match self.kind:
            case "messages":
                return Budget(n, lose=n, twice=n, late=n)
            case "cuts":
                return Budget(n, cut=n)
            case "deaths":
                return Budget(n, die=n, restart=restarts)
        return Budget(n, lose=n, twice=n, late=n, cut=n, die=n, restart=restarts)


# What is checked with each change: all schedules with one fault, 10^5 states in about a minute.
CHECKED = (
    Task("election", "messages"),
    Task("election", "cuts"),
    Task("deal", "deaths"),
    Task("hand_over", "deaths"),
)


def explore(task: Task) -> Result:
    """Carry one exploration out, in this process."""
    story = next(each for each in STORIES if each.name == task.story)
    place = begin(story, task.budget)
    # agents are nets, so that only the collector frees them; but few objects get old
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(50_000, 10_000, 10_000)
    try:
        result = search(place, task.most_states, most_s=task.most_s)
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
    lines = [line for finding in result.findings for line in told(place, finding)]
    return replace(result, told=tuple(lines))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says.

    Returns:
        0 if every rule holds, 1 if one does not.
    """
    options = _parser().parse_args(arguments)
    tasks = [
        Task(story, kind, options.faults, options.restarts, options.states, options.seconds)
        for story in options.stories
        for kind in options.kinds
    ]
    started_s = time.monotonic()
    results = []
    for task, result in zip(tasks, _all(tasks, options.jobs), strict=True):
        results.append((task, result))
        print(_line(task, result), flush=True)
        for line in result.told:
            print(f"    {line}")
    took_s = time.monotonic() - started_s
    report = _report(results, took_s)
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    broken = sum(len(result.findings) for _, result in results)
    print(
        f"{report['states']} states, depth {report['depth']}, {took_s:.0f} s on {options.jobs} "
        f"cores: {broken} rules do not hold"
    )
    return int(bool(broken))


def _all(tasks: list[Task], jobs: int) -> Iterator[Result]:
    if jobs == 1:
        yield from map(explore, tasks)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(explore, tasks)


def _line(task: Task, result: Result) -> str:
    end = "complete" if result.is_complete else "cut short"
    return (
        f"{task.story}, {task.faults} of {task.kind}: {result.states} states, "
        f"{result.steps} steps of the core, depth {result.depth}, {result.seconds:.1f} s, {end}"
    )


def _report(results: list[tuple[Task, Result]], took_s: float) -> dict[str, object]:
    return {
        "states": sum(result.states for _, result in results),
        "depth": max((result.depth for _, result in results), default=0),
        "seconds": round(took_s, 1),
        "violations": [
            {"story": task.story, "rule": finding.rule, "what": finding.text, "told": result.told}
            for task, result in results
            for finding in result.findings
        ],
        "explorations": [
            {
                "story": task.story,
                "faults": task.faults,
                "of": task.kind,
                "restarts": task.restarts,
                "states": result.states,
                "moves": result.moves,
                "core_steps": result.steps,
                "depth": result.depth,
                "seconds": round(result.seconds, 1),
                "is_complete": result.is_complete,
            }
            for task, result in results
        ],
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make explore", allow_abbrev=False)
    names = [story.name for story in STORIES]
    parser.add_argument("--stories", nargs="+", choices=names, default=names)
    parser.add_argument("--kinds", nargs="+", choices=_KINDS, default=["anything"])
    parser.add_argument("--faults", type=int, default=2, help="at most so many")
    parser.add_argument("--restarts", type=int, default=1, help="dead processes that come back")
    parser.add_argument("--states", type=int, default=_MOST_STATES, help="at most, of each story")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="at most, of each")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    return parser


if __name__ == "__main__":
    sys.exit(main())
