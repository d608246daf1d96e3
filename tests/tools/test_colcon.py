"""`colcon test` knows how to test every Python package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("colcon_core")

SRC = Path(__file__).resolve().parents[2] / "src"
# What colcon itself asks of a package before it runs pytest.
CODE = """
import sys
from distutils.core import run_setup
from colcon_core.task.python.test import has_test_dependency
setup = run_setup("setup.py", stop_after="config")
data = {"extras_require": setup.extras_require, "tests_require": None, "install_requires": []}
sys.exit(not has_test_dependency(data, "pytest"))
"""


@pytest.mark.parametrize(
    "setup", sorted(SRC.glob("*/setup.py")), ids=lambda path: path.parent.name
)
def test_colcon_runs_the_tests_of_every_package(setup):
    code = "import setuptools" + CODE
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=setup.parent, check=True)
