"""Every program says in one line what is wrong with its environment, before ROS ends it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src"


def programs() -> Iterator[tuple[str, str]]:
    """Name and `module:function` of every console script."""
    for file in sorted(SRC.glob("*/setup.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if key is not None and ast.unparse(key) == "'console_scripts'":
                        for text in ast.literal_eval(value):
                            name, _, entry = text.partition(" = ")
                            yield name, entry


PROGRAMS = dict(programs())


def test_the_programs_are_known():
    assert {"apisctl", "driver", "emulator", "unit", "dashboard", "recorder"} <= PROGRAMS.keys()


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_middleware_that_is_not_there_is_named(name):
    module, _, function = PROGRAMS[name].partition(":")
    script = f"import sys; from {module} import {function} as main; sys.exit(main())"
    arguments = ["status"] if name == "apisctl" else []

    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "RMW_IMPLEMENTATION": "rmw_of_nobody"},
        capture_output=True,
        text=True,
        timeout=60,
    )

    said = done.stdout + done.stderr
    assert done.returncode == (1 if name == "apisctl" else 2), said
    assert said.startswith(
        f"{name}: RMW_IMPLEMENTATION is 'rmw_of_nobody', which is not installed"
    )
    assert said.count("\n") == 1
