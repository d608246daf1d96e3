"""Seeds of the simulator: some for every day, more behind `-m slow`, and all that failed once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from apis_emulator.virtual.__main__ import main
from apis_emulator.virtual.run import Case, run

ROOT = Path(__file__).resolve().parents[2]
KEPT = sorted((ROOT / "tests" / "seeds").glob("*.json"))
SHORT_H = 0.6


def hold(case: Case) -> None:
    outcome = run(case)
    assert outcome.rule == 0, "\n".join((*outcome.tail, outcome.reason))


@pytest.mark.parametrize(
    ("seed", "profile"), [(1, "calm"), (1, "mixed"), (2, "partition"), (1, "crash")]
)
def test_seeds(seed, profile):
    hold(Case(seed, 4, SHORT_H, profile))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_hundred_seeds():
    """On all cores, as `apisctl simtest` runs them."""
    assert main(["--seeds", "0:200", "--units", "4", "--hours", "0.52"]) == 0


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("profile", ["partition", "crash"])
def test_a_heavy_profile(profile):
    hold(Case(3, 6, 1.0, profile))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_a_seed_that_failed_once(path):
    kept = json.loads(path.read_text(encoding="utf-8"))
    hold(Case(kept["seed"], kept["units"], kept["hours"], kept["profile"]))
