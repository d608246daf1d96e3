"""A library that is too old is named in one line, by every program."""

from __future__ import annotations

import subprocess
import sys

import pytest

from apis_core.model.libraries import require_library


@pytest.mark.parametrize("found", ["2.5", "2.5.1", "2.10.0b1", "3"])
def test_what_is_new_enough_is_taken(found):
    require_library("pydantic", found, "2.5")


@pytest.mark.parametrize("found", ["1.10.4", "2.4.9", "2", "unknown"])
def test_what_is_too_old_ends_the_program_with_one_line(found):
    with pytest.raises(SystemExit, match=f"^pydantic {found} is installed here, 2.5 or newer"):
        require_library("pydantic", found, "2.5")


PROGRAMS = [
    "apis_bringup.recording",
    "apis_bringup.session",  # the first that `check`, `run` and the launch files import
    "apis_bringup.sim",
    "apis_bringup.study",
    "apis_compat.clients.main",
    "apis_compat.emulator.transcript",
    "apis_core.config.policy",
    "apis_dashboard.demo",
    "apis_dashboard.process",
    "apis_dashboard.server",
    "apis_driver.codec",
    "apis_driver.registry",
    "apis_emulator.emulation",
    "apis_node.configuration",
    "apis_simulator.scenario.configuration",
    "apis_site.grid",
    "apis_viz.metrics.main",
    "apis_viz.recorder.record",
]
WITH_AN_OLD_ONE = """
import importlib, sys
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    for known in [known for known in sys.modules if known.startswith("apis_")]:
        del sys.modules[known]
    try:
        importlib.import_module(name)
    except SystemExit as said:
        print(name, said)
"""


def test_an_old_pydantic_is_told_before_anything_is_imported_from_it(tmp_path):
    pytest.importorskip("rclpy")
    (tmp_path / "pydantic.py").write_text("VERSION = '1.10.4'\n")
    command = [sys.executable, "-c", WITH_AN_OLD_ONE, str(tmp_path), *PROGRAMS]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = [line.partition(":")[0] for line in done.stdout.splitlines()]
    told = "pydantic 1.10.4 is installed here, 2.5 or newer is needed"
    assert said == [f"{name} {told}" for name in PROGRAMS]


def test_who_needs_only_the_messages_pays_for_no_more():
    code = "import sys, apis_core.model.messages; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    imported = done.stdout.split()
    assert "apis_core.model.messages" in imported
    assert not {"pydantic", "apis_core.unit.agent"} & set(imported)
