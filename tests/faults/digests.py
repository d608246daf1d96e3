"""The traces on record: every seed that failed once, and twenty of each profile.

With none of them a rule is broken.

    python tests/faults/digests.py                all of them: 0 if each is on record
    python tests/faults/digests.py --few          those that `make test` asks for
    python tests/faults/digests.py --rewrite      after a change of behaviour that is meant

A change that is to leave the behaviour as it is leaves every trace as it is, to the byte. Where
one differs, ``apisctl simtest --replay SEED --trace`` of both states shows where.
"""

from __future__ import annotations

import argparse
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
OTHERS, FEW = 20, 4  # seeds of each profile


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


def cases(seeds: int) -> list[Case]:
    """Every seed that failed once, and so many of each profile."""
    others = [
        Case(seed, 4, LEAST_HOURS, profile)
        for profile in sorted(PROFILES)
        for seed in range(seeds)
    ]
    return [*map(kept, KEPT), *others]


def run_all(chosen: Iterable[Case]) -> Iterator[Outcome]:
    """Outcomes of cases, in their order, from all cores."""
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        yield from pool.map(run, chosen)


def main() -> int:
    """Print what differs and what was broken, or write the record anew; 1 if there is any."""
    parser = argparse.ArgumentParser(description="Compare traces of seeds with those on record.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--few", action="store_true", help=f"{FEW} seeds of each profile")
    what.add_argument("--rewrite", action="store_true", help="make these traces the record")
    args = parser.parse_args()
    outcomes = list(run_all(cases(FEW if args.few else OTHERS)))
    digests = {name(outcome.case): digest(outcome) for outcome in outcomes}
    if args.rewrite:
        RECORD.write_text(json.dumps(digests, indent=0) + "\n", encoding="utf-8")
    on_record = json.loads(RECORD.read_text(encoding="utf-8"))
    differs = [case for case, found in digests.items() if on_record.get(case) != found]
    broken = {name(outcome.case): outcome.reason for outcome in outcomes if outcome.rule}
    said = {
        "is_compiled": is_compiled(),
        "cases": len(digests),
        "differs": differs,
        "broken": broken,
    }
    print(json.dumps(said, indent=2))
    return 1 if differs or broken else 0


if __name__ == "__main__":
    sys.exit(main())
