"""The model of lease, fencing and dead man holds, and each fault that it names breaks it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

MODEL = Path(__file__).with_name("lease.pml")
COMPILER = shutil.which("cc") or shutil.which("gcc")

pytestmark = pytest.mark.skipif(
    shutil.which("spin") is None or COMPILER is None, reason="needs spin and a C compiler"
)


def errors(folder: Path, *definitions: str) -> int:
    """How many errors spin finds; it ends with the first."""
    assert COMPILER is not None
    shutil.copy(MODEL, folder)
    for command in (
        ["spin", "-a", *definitions, MODEL.name],
        [COMPILER, "-O2", "-w", "-DSAFETY", "-DCOLLAPSE", "-o", "pan", "pan.c"],
        ["./pan", "-m200000"],
    ):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert "max search depth too small" not in done.stdout
    found = re.search(r"errors: (\d+)", done.stdout)
    assert found is not None, done.stdout
    return int(found[1])


@pytest.mark.parametrize("fault", ["NO_FENCING", "TWO_VOTES", "NO_DEAD_MAN"])
def test_a_planted_fault_is_found(tmp_path, fault):
    assert errors(tmp_path, f"-D{fault}") == 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_without_a_fault_every_state_holds(tmp_path):
    assert errors(tmp_path) == 0
