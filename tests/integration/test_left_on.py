"""A unit whose converter does not go to WAIT says so when it ends."""

from __future__ import annotations

import signal
import subprocess

import pytest
from builtin_interfaces.msg import Time
from rosgraph_msgs.msg import Clock

from apis_bringup.graph import Graph
from apis_bringup.observer import GridObserver
from apis_bringup.overrides import Overrides
from apis_bringup.session import GridOptions, _child_environment, _command, prepare
from apis_interfaces.msg import ConverterState
from apis_ros.qos import CLOCK_HEARD

pytestmark = [pytest.mark.ros, pytest.mark.timeout(120)]
SPEED = 100.0  # makes its time to stop some 4 s
PERIOD_S = 0.05
START_S = 1_750_460_400


@pytest.mark.parametrize(
    ("mode", "code"), [(ConverterState.MODE_VOLTAGE_REFERENCE, 1), (ConverterState.MODE_WAIT, 0)]
)
def test_a_converter_that_was_not_seen_in_wait_is_named(monkeypatch, domains, mode, code):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domains[0]))
    with (
        prepare(GridOptions(None, Overrides(units=1, speed=SPEED), web=False)) as grid,
        Graph("village") as graph,
    ):
        observer = GridObserver(graph)
        clock = graph.node.create_publisher(Clock, "/clock", CLOCK_HEARD)
        readings = graph.node.create_publisher(ConverterState, "e001/converter_state", 1)
        now_s = [float(START_S)]

        def tick() -> None:
            now_s[0] += PERIOD_S * SPEED
            stamp = Time(sec=int(now_s[0]))
            clock.publish(Clock(clock=stamp))
            state = ConverterState(unit_id="E001", mode=mode, stamp=stamp)
            state.grid_voltage_v = 350.0
            readings.publish(state)

        graph.every(PERIOD_S, tick)
        (unit,) = [process for process in grid.processes if process.name == "unit E001"]
        process = subprocess.Popen(
            _command(unit),
            env=dict(_child_environment(grid.run)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            assert observer.wait_for(
                lambda: (
                    "E001" in observer.statuses
                    and observer.statuses["E001"].converter.mode == mode
                ),
                within_s=60.0,
            )
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=40)
        finally:
            process.kill()
            process.wait()

    assert process.returncode == code, said
    assert ("E001 was not seen in WAIT; it is in VOLTAGE_REFERENCE" in said) == (code == 1)
