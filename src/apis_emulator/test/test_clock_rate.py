"""How often the emulator says what time it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("own_ros_domain")]

rclpy = pytest.importorskip("rclpy")

from apis_emulator import emulator_node  # noqa: E402
from apis_emulator.emulation import Emulation  # noqa: E402
from apis_site.grid import parse_grid  # noqa: E402

SPAN_S = 2.0
FASTEST = 100  # ticks in that time


@pytest.mark.parametrize(
    ("device", "speed", "least", "most"),
    [
        ({}, 0.5, 9, 11),
        ({}, 1.0, 9, 11),
        ({}, 2.0, 18, 21),
        ({}, 20.0, FASTEST, FASTEST),
        ({"kind": "http"}, 1.0, FASTEST, FASTEST),  # its driver counts energy by it
    ],
)
def test_the_clock_is_said_as_often_as_its_listeners_need(
    make_village: Callable[..., SimpleNamespace],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    device: dict[str, str],
    speed: float,
    least: int,
    most: int,
) -> None:
    now_s = 1000.0
    monkeypatch.setattr(emulator_node.time, "monotonic", lambda: now_s)
    unit = {"id": "E001", "hardware": "-", "scenario": "-", "device": device}
    grid = parse_grid({"cluster": "test", "policy": "-", "units": [unit]}, "test")
    rclpy.init()
    node = emulator_node.EmulatorNode(
        grid, Emulation(grid, make_village(1).plant), speed, tmp_path
    )
    try:
        said: list[object] = []
        node.clock_publisher = SimpleNamespace(publish=said.append)
        ticks = round(SPAN_S / node.tick_s)
        assert ticks == (FASTEST if device or speed > 2.5 else 20 * max(speed, 1.0) * SPAN_S)
        for _ in range(ticks):
            now_s += node.tick_s
            node.tick()
        assert least <= len(said) <= most
    finally:
        node.devices.close()
        node.destroy_node()
        rclpy.shutdown()
