"""A grid in which units have devices of their own: what the emulator's node does with them."""

from __future__ import annotations

import json
import os
import select
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from apis_core.model.types import ConverterMode as Mode
from apis_site.grid import parse_grid

pytestmark = pytest.mark.ros

rclpy = pytest.importorskip("rclpy")

from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402

from apis_emulator.emulation import Emulation  # noqa: E402
from apis_emulator.emulator_node import EmulatorNode  # noqa: E402

WITHIN_S = 10.0


@pytest.fixture
def node(make_village, tmp_path, monkeypatch) -> Iterator[EmulatorNode]:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    kinds = [{}, {"kind": "serial", "dcdc_baud": 115200, "silence_limit_s": 0.5}, {"kind": "http"}]
    units = [
        {"id": f"E00{k}", "hardware": "-", "scenario": "-", "device": kind}
        for k, kind in enumerate(kinds, 1)
    ]
    grid = parse_grid({"cluster": "test", "policy": "-", "units": units}, "test")
    rclpy.init(domain_id=10 + os.getpid() % 80)
    plant = make_village(3).plant
    node = EmulatorNode(grid, Emulation(grid, plant), 20.0, tmp_path / "tty")
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    is_over = threading.Event()

    def live() -> None:
        while not is_over.is_set():
            node.tick()
            executor.spin_once(timeout_sec=node.tick_s)

    thread = threading.Thread(target=live)
    thread.start()
    yield node
    is_over.set()
    thread.join()
    executor.shutdown()
    node.close()
    node.destroy_node()
    rclpy.shutdown()


def until(condition: Callable[[], object], what: str) -> None:
    end_s = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < end_s, f"waited in vain for {what}"
        time.sleep(0.01)


def ask(port: Path, request: str, within_s: float = WITHIN_S) -> str:
    """The first bytes that come back."""
    fd = os.open(port, os.O_RDWR | os.O_NOCTTY)
    try:
        os.write(fd, bytes.fromhex(request))
        end_s, answer = time.monotonic() + within_s, b""
        while len(answer) < 9 and (left_s := end_s - time.monotonic()) > 0.0:
            if select.select([fd], [], [], left_s)[0]:
                answer += os.read(fd, 100)
        return answer.hex()
    finally:
        os.close(fd)


READ_MODE, IN_WAIT, IN_CHARGE = "05000010001000", "020200100000001000", "020200100041005100"
SET_CHARGE = "050200100041005100"


def test_only_native_units_are_on_the_graph(node):
    topics = {name for name, _ in node.get_topic_names_and_types()}
    for unit, is_native in (("e001", True), ("e002", False), ("e003", False)):
        for name in ("converter_state", "battery_state"):
            assert (f"/apis/test/{unit}/{name}" in topics) is is_native
        assert f"/apis/test/{unit}/house_state" in topics
    services = {name for name, _ in node.get_service_names_and_types()}
    assert {name for name in services if name.endswith("command")} == {
        "/apis/test/e001/converter/command"
    }


def test_devices_answer_and_can_be_tampered_with(node, tmp_path):
    port = tmp_path / "tty" / "e002-dcdc"
    assert ask(port, READ_MODE) == IN_WAIT
    assert (tmp_path / "tty" / "e002-battery").exists()

    http = node.devices.by_unit["E003"].http
    with urllib.request.urlopen(f"http://127.0.0.1:{http.port}/all/get", timeout=5.0) as answer:
        assert json.load(answer)["rsoc"] == pytest.approx(60.0, abs=1.0)

    def set_parameter(name: str, value: object) -> str:
        result = node.set_parameters([Parameter(name, value=value)])[0]
        return "" if result.successful else result.reason

    assert set_parameter("e002.silent", True) == ""
    assert ask(port, READ_MODE, 0.1) == ""
    assert set_parameter("e002.silent", False) == ""
    assert ask(port, READ_MODE) == IN_WAIT
    assert set_parameter("e002.bad_sum_ratio", 1.0) == ""
    assert ask(port, READ_MODE) != IN_WAIT
    assert set_parameter("e002.bad_sum_ratio", 0.0) == ""
    assert "out of range" in set_parameter("e002.cut_ratio", 1.5)
    assert "one of" in set_parameter("e002.alarm", "red")
    assert set_parameter("e003.permit", False) == ""
    with urllib.request.urlopen(f"http://127.0.0.1:{http.port}/battery/get", timeout=5) as answer:
        assert json.load(answer)["battery_operation_status"] == 0
    assert set_parameter("e002.plugged", False) == ""
    assert not os.path.lexists(port)
    assert set_parameter("e002.plugged", True) == ""
    assert ask(port, READ_MODE) == IN_WAIT
    assert set_parameter("e002.alarm", "heavy") == ""
    assert ask(port, SET_CHARGE).startswith("02020010 80 fd ff".replace(" ", ""))


def test_a_converter_whose_line_is_pulled_goes_to_wait(node, tmp_path):
    eza = node.devices.by_unit["E003"].eza
    plant, converter = eza.plant, eza.plant.units["E002"].converter
    with node.devices.lock:  # a bus to charge from
        eza.silence_limit_s = None
        eza.write({"dig": 8000, "dvg": 15090, "drg": 0})
        eza.write({"mode": 0x0014})
    until(lambda: plant.voltage_v > 349.0, "a bus")
    port = tmp_path / "tty" / "e002-dcdc"
    assert ask(port, SET_CHARGE) == IN_CHARGE
    assert converter.mode is Mode.CHARGE
    node.set_parameters([Parameter("e002.plugged", value=False)])
    began_s = time.monotonic()
    until(lambda: converter.mode is Mode.WAIT, "WAIT")
    assert time.monotonic() - began_s < 2.0
    node.set_parameters([Parameter("e002.plugged", value=True)])
    assert ask(port, READ_MODE) == IN_WAIT
