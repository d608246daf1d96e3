"""The traces on record: every seed that failed once, and twenty of each profile.

With none of them a rule is broken.

    python tests/faults/digests.py --rewrite      after a change of behaviour that is meant

A change that is to leave the behaviour as it is leaves every trace as it is, to the byte. Where
one differs, ``apisctl simtest --replay SEED --trace`` of both states shows where.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from apis_simulator.compiled import is_compiled
from apis_simulator.faults import PROFILES
from apis_simulator.run import LEAST_HOURS, Case, Outcome, run

RECORD = Path(__file__).with_name("digests.json")
KEPT = sorted((Path(__file__).resolve().parents[1] / "seeds").glob("*.json"))
OTHERS = [
    Case(seed, 4, LEAST_HOURS, profile) for profile in sorted(PROFILES) for seed in range(20)
]


def kept(path: Path) -> Case:
    """A seed that failed once."""
    said = json.loads(path.read_text(encoding="utf-8"))
    return Case(said["seed"], said["units"], said["hours"], said["profile"])


def name(case: Case) -> str:
    """How the record calls a case."""
    return f"{case.profile} {case.seed}, {case.units} units, {case.hours:g} h"


def digest(outcome: Outcome) -> str:
    """What the record holds of its trace."""
    return outcome.digest[:16]


def is_on_record(case: Case) -> bool:
    """Whether the record holds a case."""
    return name(case) in json.loads(RECORD.read_text(encoding="utf-8"))


def on_record(case: Case) -> str:
    """The digest that the trace of a case should have."""
    return str(json.loads(RECORD.read_text(encoding="utf-8"))[name(case)])


def run_all() -> Iterator[Outcome]:
    """All of them, on all cores."""
    cases: Iterable[Case] = [*map(kept, KEPT), *OTHERS]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        yield from pool.map(run, cases)


def main() -> None:
    """Print what the traces are, and what was broken; or write the record anew."""
    outcomes = list(run_all())
    digests = {name(outcome.case): digest(outcome) for outcome in outcomes}
    if "--rewrite" in sys.argv[1:]:
        RECORD.write_text(json.dumps(digests, indent=0) + "\n", encoding="utf-8")
    broken = {name(outcome.case): outcome.reason for outcome in outcomes if outcome.rule}
    print(json.dumps({"is_compiled": is_compiled(), "digests": digests, "broken": broken}))


if __name__ == "__main__":
    main()
