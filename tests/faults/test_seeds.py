"""Seeds of the simulator hold every invariant, and their traces are those on record."""

from __future__ import annotations

import json
import subprocess
import sys

import digests
import pytest

from apis_simulator import compiled
from apis_simulator.run import LEAST_HOURS, Case, run

HINT = "meant? python tests/faults/digests.py --rewrite, and say in the commit why"


def must_be_as_on_record(case: Case) -> None:
    outcome = run(case)
    assert outcome.rule == 0, "\n".join((*outcome.tail, outcome.reason))
    assert digests.digest(outcome) == digests.on_record(case), HINT


@pytest.mark.parametrize(
    ("seed", "profile"),
    [(1, "calm"), (1, "mixed"), (2, "partition"), (1, "crash"), (1, "gateway"), (1, "hardware")],
)
def test_seeds(seed, profile):
    must_be_as_on_record(Case(seed, 4, LEAST_HOURS, profile))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("stem", ["crash-30", "partition-5-4"])
def test_a_seed_that_failed_once(stem):
    """Two of them; the others take longer, and run compiled."""
    (path,) = (path for path in digests.KEPT if path.stem == stem)
    must_be_as_on_record(digests.kept(path))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_seeds_on_record_compiled():
    """Those that failed once and some of each profile, compiled and on all cores."""
    folder = compiled.compiled_folder(make=True)
    assert folder is not None

    said = subprocess.run(
        [sys.executable, digests.__file__, "--few"],
        env=compiled.environment(folder),
        capture_output=True,
        text=True,
    )

    assert said.stdout, said.stderr
    found = json.loads(said.stdout)
    assert found["is_compiled"]
    assert found["cases"] > len(digests.KEPT)
    assert not found["broken"]
    assert not found["differs"], HINT
