"""Breadth first: all states that can be reached, nearest first, each looked at once."""

from __future__ import annotations

import time
import traceback
from array import array
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from apis_simulator.explore.moves import Move
from apis_simulator.explore.stories import Place
from apis_simulator.invariants import Violation

__all__ = ["Finding", "Result", "search", "told"]

_START = -1


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that does not hold.

    Attributes:
        rule: Its number.
        text: What was seen.
        path: Moves from the beginning of the story.
    """

    rule: int
    text: str
    path: tuple[Move, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What a search came to.

    Attributes:
        story: Its name.
        states: How many different ones were visited.
        moves: How many led there, or to a known one.
        steps: How often the real core was run.
        depth: Moves of the longest of the shortest paths.
        seconds: It took.
        is_complete: Nothing within the story's limits was left out.
        findings: Rules that do not hold, the nearest first.
        told: The findings, for people, line by line.
    """

    story: str
    states: int
    moves: int
    steps: int
    depth: int
    seconds: float
    is_complete: bool
    findings: tuple[Finding, ...]
    told: tuple[str, ...] = ()


def search(
    place: Place,
    most_states: int,
    *,
    most_findings: int = 1,
    most_s: float = float("inf"),
) -> Result:
    """Look at all states of a story, or at so many.

    Args:
        place: Where to begin, and how far to go.
        most_states: After so many it ends.
        most_findings: After so many it ends, too.
        most_s: And after so long. [s]
    """
    moves, horizon_ns = place.moves, place.horizon_ns
    started_s = time.monotonic()
    numbers = {place.key(place.state): 0}
    parents, made_by = array("q", [_START]), array("q", [0])
    names: dict[Move, int] = {}
    frontier = deque([(place.state, 0, 0)])
    findings: list[Finding] = []
    count = depth = 0
    while frontier and len(findings) < most_findings and len(numbers) < most_states:
        if time.monotonic() - started_s > most_s:
            break
        state, index, depth = frontier.popleft()
        for move in moves.possible(state):
            count += 1
            try:
                after = moves.after(state, move)
            except Violation as violation:
                path = (*_path(index, parents, made_by, names), move)
                findings.append(Finding(violation.rule, violation.text, path))
                continue
            except Exception:  # whatever falls over in a core that must not is a finding, too
                path = (*_path(index, parents, made_by, names), move)
                findings.append(Finding(7, traceback.format_exc(), path))
                continue
            key = place.key(after)
            known = numbers.setdefault(key, len(parents))
            if known < len(parents):
                continue
            parents.append(index)
            made_by.append(names.setdefault(move, len(names)))
            if after.elapsed_ns < horizon_ns:
                frontier.append((after, known, depth + 1))
    return Result(
        story=place.name,
        states=len(numbers),
        moves=count,
        steps=moves.units.taken,
        depth=depth,
        seconds=time.monotonic() - started_s,
        is_complete=not frontier,
        findings=tuple(findings),
    )


def _path(
    index: int, parents: array[int], made_by: array[int], names: dict[Move, int]
) -> tuple[Move, ...]:
    by_number = list(names)
    moves: list[Move] = []
    while parents[index] != _START:
        moves.append(by_number[made_by[index]])
        index = parents[index]
    return tuple(reversed(moves))


def told(place: Place, finding: Finding) -> Iterator[str]:
    """A finding, for people: what happened up to there, step by step."""
    state = place.state
    for move in finding.path:
        yield f"{state.elapsed_ns / 1e9:7.2f} s  {place.moves.describe(state, move)}"
        try:
            state = place.moves.after(state, move)
        except Exception as error:  # the finding itself
            yield f"{type(error).__name__}: {error}"
