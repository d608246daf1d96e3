"""Seeds of the simulator: some for every day, more behind `-m slow`, and all that failed once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from apis_emulator.virtual import compiled
from apis_emulator.virtual.__main__ import main
from apis_emulator.virtual.run import Case, run

ROOT = Path(__file__).resolve().parents[2]
KEPT = sorted((ROOT / "tests" / "seeds").glob("*.json"))
SHORT_H = 0.6


def hold(case: Case) -> None:
    outcome = run(case)
    assert outcome.rule == 0, "\n".join((*outcome.tail, outcome.reason))


@pytest.mark.parametrize(
    ("seed", "profile"),
    [(1, "calm"), (1, "mixed"), (2, "partition"), (1, "crash"), (1, "gateway")],
)
def test_seeds(seed, profile):
    hold(Case(seed, 4, SHORT_H, profile))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_hundred_seeds_and_the_same_traces_compiled():
    """On all cores and compiled, as `apisctl simtest` runs them."""
    folder = compiled.compiled_folder(make=True)
    assert folder is not None
    as_machine_code, as_it_is = traced(compiled.environment(folder)), traced(dict(os.environ))
    assert as_machine_code == ("True", as_it_is[1])
    assert as_it_is[0] == "False"
    assert main(["--seeds", "0:200", "--units", "6", "--hours", "0.6"]) == 0


def traced(env: dict[str, str]) -> tuple[str, str]:
    """Whether a process ran machine code, and the digest of its trace."""
    code = (
        "from apis_emulator.virtual.compiled import is_compiled;"
        "from apis_emulator.virtual.run import Case, run;"
        f"print(is_compiled(), run(Case(7, 4, {SHORT_H})).digest)"
    )
    said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    return tuple(said.stdout.split())


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
