"""Runs the C++ tests that the build has made, so that they belong to the others."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1]
BUILD = PACKAGE.parents[1] / "build" / PACKAGE.name


def programs() -> list[Path]:
    found = BUILD.glob("test_*")
    return sorted(path for path in found if path.is_file() and os.access(path, os.X_OK))


@pytest.mark.parametrize("program", programs(), ids=lambda path: path.name)
def test_cpp(program):
    done = subprocess.run([program, "--gtest_brief=1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_they_are_there():
    if not programs():
        pytest.skip("GoogleTest is not installed (libgtest-dev): the C++ tests are not built")
