"""A test that fails and then passes lets the run pass, and is named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = """
from pathlib import Path
BEFORE = Path(__file__).with_name("before")

def test_a_race():
    is_second = BEFORE.exists()
    BEFORE.touch()
    assert is_second, "lost"

def test_a_fault():
    assert {fault}

def test_all_is_well():
    pass
"""


@pytest.mark.parametrize(("workers", "fault", "exit_code"), [("2", False, 0), ("0", True, 1)])
def test_a_flaky_test_is_named_and_a_failing_one_is_none(tmp_path, workers, fault, exit_code):
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "test_it.py").write_text(TESTS.format(fault=not fault))

    plugins = ["-p", "xdist", "-p", "pytest_rerunfailures"]  # others take a second to load
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, "--reruns", "1", "-n", workers, "."],
        cwd=tmp_path,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
    )

    assert run.returncode == exit_code, run.stdout
    assert "FLAKY: test_it.py::test_a_race" in run.stdout
    assert "FLAKY: test_it.py::test_a_fault" not in run.stdout
    (flaky,) = json.loads((tmp_path / "build" / "flaky.json").read_text())
    assert flaky["test"] == "test_it.py::test_a_race"
    assert "lost" in flaky["first_failure"]
