"""The processes of markers, metrics and old HTTP: they start, hear a grid, and end in order."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

rclpy = pytest.importorskip("rclpy")
msg = pytest.importorskip("apis_interfaces.msg")
httpx = pytest.importorskip("httpx")

from rclpy.context import Context  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.signals import SignalHandlerOptions  # noqa: E402
from visualization_msgs.msg import MarkerArray  # noqa: E402

from apis_ros.qos import STATE  # noqa: E402

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("own_ros_domain")]

GRID = {
    "cluster": "windows",
    "policy": "p.json",
    "units": [{"id": "E001", "hardware": "h.json", "scenario": "s.json", "position_m": [5, 7]}],
}


@pytest.fixture
def node() -> Iterator[Node]:
    """A grid of one unit, 42 % full."""
    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = Node("peer", namespace="/apis/windows", context=context)
    node.create_publisher(msg.UnitStatus, "e001/status", STATE).publish(
        msg.UnitStatus(unit_id="E001", soc_ratio=0.42)
    )
    yield node
    node.destroy_node()
    context.try_shutdown()


@contextmanager
def window(module: str, tmp_path: Path, **parameters: object) -> Iterator[subprocess.Popen[str]]:
    """A window's process."""
    file = tmp_path / "grid.json"
    file.write_text(json.dumps(GRID))
    given = {"grid_file": file, **parameters}
    arguments = [word for name, value in given.items() for word in ("-p", f"{name}:={value}")]
    remap = ["-r", "__ns:=/apis/windows"]
    process = subprocess.Popen(
        [sys.executable, "-m", f"{module}.main", "--ros-args", *remap, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def spin_until(node: Node, condition) -> None:
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    end_s = time.monotonic() + 40.0
    while not condition():
        assert time.monotonic() < end_s, "did not come true in 40 s"
        executor.spin_once(timeout_sec=0.05)
    executor.remove_node(node)


def ends_in_order(process: subprocess.Popen[str]) -> bool:
    process.send_signal(signal.SIGINT)
    return process.wait(timeout=50) == 0


def test_markers_for_rviz(node, tmp_path):
    heard: list[MarkerArray] = []
    node.create_subscription(MarkerArray, "markers", heard.append, STATE)

    def words() -> list[str]:
        return [m.text for m in heard[-1].markers if m.ns == "words"] if heard else []

    with window("apis_viz.markers", tmp_path) as process:
        spin_until(node, lambda: any(text.startswith("E001  42%") for text in words()))
        assert ends_in_order(process)
    (house,) = (m for m in heard[-1].markers if m.ns == "house")
    assert (house.header.frame_id, house.pose.position.x, house.pose.position.y) == ("grid", 5, 7)


def test_metrics_for_prometheus(node, tmp_path):
    with window("apis_viz.metrics", tmp_path, port=0) as process:
        url = re.search(r"http://\S+", process.stdout.readline()).group()
        soc = 'apis_unit_soc_ratio{cluster="windows",unit="E001"} 0.4'
        spin_until(node, lambda: soc in httpx.get(url).text)
        head = httpx.head(url)
        assert (head.status_code, head.text) == (200, "")
        assert ends_in_order(process)


def test_the_originals_http(node, tmp_path):
    unused = ("budo_port", "hardware_port", "api_port", "generator_port", "controller_port")
    ports = dict.fromkeys(unused, 0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with window("apis_compat.clients", tmp_path, emulator_port=port, **ports) as process:
        assert f"on 127.0.0.1: {port}\n" in process.stdout.readline()
        url = f"http://127.0.0.1:{port}/get/log"
        spin_until(node, lambda: "E001" in httpx.get(url).json())
        assert httpx.get(url).json()["E001"]["battery"]["rsoc"] == 42.0
        assert ends_in_order(process)


@pytest.mark.parametrize(
    ("module", "parameter"), [("apis_viz.metrics", "port"), ("apis_compat.clients", "api_port")]
)
def test_a_busy_port_is_named(node, tmp_path, module, parameter):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        rest = (
            {}
            if parameter == "port"
            else dict.fromkeys(("budo_port", "emulator_port", "hardware_port"), 0)
        )
        with window(module, tmp_path, **{parameter: port, **rest}) as process:
            said, _ = process.communicate(timeout=50)

    assert process.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in said
    assert "Traceback" not in said
