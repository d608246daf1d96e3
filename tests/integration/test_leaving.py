"""A process that hangs while it leaves the graph, with Python's lock held, ends all the same."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from apis_bringup.overrides import Overrides
from apis_bringup.session import GridOptions, _child_environment, _command, prepare

pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.timeout(120)]
ROOT = Path(__file__).resolve().parents[2]
ENDS_WITHIN_S = 20.0  # the converter goes to WAIT first
# As Fast DDS does it: in C, without giving Python's lock back.
HANGS = """
import ctypes, runpy, sys
from rclpy.node import Node
make, leave = Node.__init__, Node.destroy_node
def is_for_parameters(node):
    return type(node) is Node and node.get_name() != "unit"
def tell(node, *arguments, **named):
    make(node, *arguments, **named)
    if not is_for_parameters(node):
        print("is made", flush=True)
def hang(node):
    if is_for_parameters(node):
        return leave(node)
    print("leaves", flush=True)
    ctypes.PyDLL(None).sleep(600)
Node.__init__, Node.destroy_node = tell, hang
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("name", ["unit E001", "driver E001", "emulator"])
def test_a_process_that_hangs_in_leaving_the_graph_is_ended_by_its_alarm(
    monkeypatch, domains: tuple[int, int], name: str
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domains[0]))
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    file = ROOT / "config" / "device_grid.yaml"
    with prepare(GridOptions(file, Overrides(), web=False, quiet=True)) as grid:
        (chosen,) = [each for each in grid.processes if each.name == name]
        process = subprocess.Popen(
            [sys.executable, "-c", HANGS, *_command(chosen)],
            env=dict(_child_environment(grid.run)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=ENDS_WITHIN_S)
        finally:
            process.kill()
            process.wait()
    assert "leaves" in rest, said + rest
    assert process.returncode == -signal.SIGALRM
