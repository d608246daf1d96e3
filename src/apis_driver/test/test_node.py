"""The driver's node on a real graph, with a converter in memory."""

from __future__ import annotations

import errno
import math
import os
import pty
import select
import threading
import time
import tty

import pytest

pytestmark = pytest.mark.ros
rclpy = pytest.importorskip("rclpy")

from fake_eza import FakeEza  # noqa: E402

from apis_driver.devices.control_loop import LoopDcdc, LoopSettings  # noqa: E402
from apis_driver.devices.eza2500 import Eza2500, Eza2500Settings  # noqa: E402
from apis_driver.rules import GovernorSettings  # noqa: E402

NAN = math.nan


@pytest.fixture
def ros_arguments():
    return []


@pytest.fixture
def graph(own_ros_domain, ros_arguments):
    from rclpy.executors import SingleThreadedExecutor

    rclpy.init(args=ros_arguments)
    executor = SingleThreadedExecutor()
    yield Graph(executor)
    executor.shutdown()
    rclpy.try_shutdown()


def eza(transport=None, port="fake"):
    settings = Eza2500Settings(port=port, reply_timeout_s=0.02, late_reply_s=0.0)
    return Eza2500(settings, transport)


class Graph:
    """A driver's node and somebody who watches it, in one executor."""

    def __init__(self, executor) -> None:
        from diagnostic_msgs.msg import DiagnosticArray
        from rclpy.node import Node

        from apis_interfaces.msg import ConverterState, Fault
        from apis_interfaces.srv import ConverterCommand

        self.executor = executor
        self.watcher = Node("watcher", namespace="/apis/village/e001")
        self.readings, self.faults, self.diagnostics = [], [], {}
        listen = self.watcher.create_subscription
        listen(ConverterState, "converter_state", self.readings.append, 10)
        listen(Fault, "/apis/village/faults", self.faults.append, 10)
        listen(DiagnosticArray, "/diagnostics", self._diagnosed, 10)
        self.client = self.watcher.create_client(ConverterCommand, "converter/command")
        executor.add_node(self.watcher)
        self.fake = FakeEza()
        self.node = None

    def start(self, dcdc=None, unit_id="E001"):
        from apis_driver.driver_node import DriverNode, DriverSetup

        setup = DriverSetup(
            unit_id=unit_id,
            cluster="village",
            dcdc=dcdc or eza(self.fake),
            battery=None,
            rules=GovernorSettings(),
            limits=None,
        )
        self.node = DriverNode(setup)
        self.executor.add_node(self.node)
        return self.node

    def until(self, holds, within_s=20.0, *, spins=True):
        end_s = time.monotonic() + within_s
        while time.monotonic() < end_s:
            if holds():
                return
            if spins:
                self.executor.spin_once(timeout_sec=0.05)
            else:
                time.sleep(0.01)
        pytest.fail("it did not come about in time")

    def request(self, **fields):
        from apis_interfaces.srv import ConverterCommand

        request = ConverterCommand.Request(
            grid_voltage_v=NAN, droop_ratio=NAN, energy_limit_wh=NAN, next_current_a=NAN
        )
        for name, value in {"grid_current_a": NAN, "hold_s": 5.0, "term": 1, **fields}.items():
            setattr(request, name, value)
        self.until(self.client.service_is_ready)
        return request

    def order(self, **fields):
        future = self.client.call_async(self.request(**fields))
        self.until(future.done)
        return future.result()

    def is_active(self):
        return self.node.lifecycle_state == "active"

    def end(self):
        self.node.end()
        self.until(lambda: self.node.is_ended)
        self.node.close()
        self.node.destroy_node()

    def _diagnosed(self, message) -> None:
        self.diagnostics |= {status.name: status for status in message.status}


def test_orders_are_obeyed_published_and_ended_with_wait(graph):
    graph.start()
    graph.until(graph.is_active)
    assert graph.fake.asked[0] == "1-4"
    assert graph.order(operation=0).state.mode == 1
    reply = graph.order(operation=1, mode=4, grid_current_a=2.0)
    assert (reply.error_code, reply.state.mode, reply.state.term) == (0, 4, 1)
    graph.until(lambda: graph.readings and graph.readings[-1].mode == 4)
    assert graph.order(operation=9).error_code == 102
    assert graph.order(operation=4, term=0).error_code == 102
    graph.until(lambda: "e001 driver: converter" in graph.diagnostics)
    values = {v.key: v.value for v in graph.diagnostics["e001 driver: converter"].values}
    assert values["address"] == "fake"
    assert float(values["settings_budget_s"]) == 0.6
    graph.end()
    assert graph.fake.raw["mode"] == 0
    assert graph.fake.asked[-1] == "1-4"


def test_the_timing_of_a_control_loop_is_published(graph):
    ramp = {"voltage_up_v_per_s": 2000.0, "voltage_down_v_per_s": 2000.0}
    graph.start(LoopDcdc(LoopSettings(converter=ramp, stage_settings={"capacitance_f": 1e-3})))
    graph.until(graph.is_active)
    reply = graph.order(operation=1, mode=2, grid_voltage_v=350.0, droop_ratio=0.0)
    assert (reply.error_code, reply.state.mode) == (0, 2)
    graph.until(lambda: graph.readings and graph.readings[-1].grid_voltage_v > 349.0)
    name = "e001 driver: control loop"
    graph.until(lambda: name in graph.diagnostics)
    values = {v.key: v.value for v in graph.diagnostics[name].values}
    assert (values["rate_hz"], int(values["ticks"]) > 0) == ("1000", True)
    assert 0 <= int(values["jitter_p50_us"]) <= int(values["jitter_max_us"])
    assert int(values["misses"]) >= 0
    graph.end()


def test_a_reply_that_was_held_up_is_not_newer_than_what_was_read_since(graph):
    """Else counters seem to go back, which a unit takes for a driver that begins anew."""
    node = graph.start()
    graph.until(graph.is_active)
    published = []
    node.publisher.readings.publish = published.append
    request = graph.request(operation=1, mode=4, grid_current_a=2.0)
    reply = graph.client.call_async(request)
    graph.until(lambda: graph.fake.raw["mode"] != 0)
    graph.until(lambda: len(published) > 3, spins=False)
    newest = published[-1]
    graph.until(reply.done)
    sent = reply.result().state.stamp
    assert (sent.sec, sent.nanosec) < (newest.stamp.sec, newest.stamp.nanosec)
    graph.end()


def test_a_device_that_is_not_there_is_told_once_and_tried_again(graph):
    graph.fake.is_gone = True
    graph.start()
    graph.until(lambda: graph.faults)
    reply = graph.order(operation=1, mode=4, grid_current_a=2.0)
    assert reply.error_code == 104
    assert "there is no such port" in reply.error_msg
    assert reply.state.mode == 0
    graph.until(lambda: "e001 driver: converter" in graph.diagnostics)
    status = graph.diagnostics["e001 driver: converter"]
    assert status.level == b"\x02"
    assert "there is no such port" in status.message
    graph.fake.is_gone = False
    graph.until(graph.is_active)
    assert [fault.code for fault in graph.faults] == ["converter_unreachable"]
    graph.end()


@pytest.fixture
def lines():
    """Two pseudo-terminals: one where nobody answers, and one with a login prompt."""
    ends = [pty.openpty() for _ in range(2)]
    for _, host in ends:
        tty.setraw(host)
    silent, talking = ends
    is_over = threading.Event()

    def talk() -> None:
        while not is_over.is_set():
            if select.select([talking[0]], [], [], 0.05)[0]:
                os.read(talking[0], 100)
                os.write(talking[0], b"login: ")

    thread = threading.Thread(target=talk)
    thread.start()
    yield os.ttyname(silent[1]), os.ttyname(talking[1])
    is_over.set()
    thread.join()
    for end in (*silent, *talking):
        os.close(end)


def test_a_wrong_port_is_told_with_its_name_and_what_was_seen(graph, lines, tmp_path, monkeypatch):
    """Four units at once: each stays up, unconfigured, and tries again and again."""
    silent, talking = lines
    forbidden, missing = str(tmp_path / "forbidden"), str(tmp_path / "missing")
    really_open = os.open

    def open_(path, *args, **kwargs):  # root, who runs tests at times, may open everything
        if path == forbidden:
            raise PermissionError(errno.EACCES, "Permission denied")
        return really_open(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", open_)
    foreign = FakeEza()
    foreign.raw.update(wn=40000)
    expected = {
        "E001": (missing, "there is no such port; is the adapter plugged in?"),
        "E002": (forbidden, "we may not open it; is this user in the group dialout?"),
        "E003": (silent, "no answer; is it switched on, is this the right port, and is 19200 its"),
        "E004": (
            talking,
            "7 bytes came, but no whole frame; they began with 6c 6f 67 69 6e 3a 20",
        ),
        "E005": ("fake", "it is rated 5000 W, an EZA2500 2500 W"),
    }
    nodes = [
        graph.start(eza(foreign if port == "fake" else None, port), unit_id)
        for unit_id, (port, _) in expected.items()
    ]
    graph.until(lambda: all(node.failures >= 2 for node in nodes))
    graph.diagnostics.clear()
    names = [f"{unit_id.lower()} driver: converter" for unit_id in expected]
    graph.until(lambda: graph.diagnostics.keys() >= set(names))
    for (port, seen), name in zip(expected.values(), names, strict=True):
        status = graph.diagnostics[name]
        print(status.message)
        assert status.level == b"\x02"
        assert status.message.startswith(f"not connected: {port}: {seen}")
    assert {node.lifecycle_state for node in nodes} == {"unconfigured"}
    told = sorted(fault.unit_id for fault in graph.faults)
    assert told == sorted(expected)  # once each
    for node in nodes:
        node.close()
        node.destroy_node()


def test_a_device_that_goes_in_the_middle_is_taken_to_wait_when_it_is_back(graph):
    graph.start()
    graph.until(graph.is_active)
    graph.order(operation=1, mode=4, grid_current_a=2.0)
    graph.fake.is_gone = True
    graph.until(lambda: graph.node.lifecycle_state == "unconfigured")
    graph.until(lambda: graph.readings[-1].mode == 0)
    assert graph.faults[-1].category == 1
    graph.fake.asked.clear()
    graph.fake.is_gone = False
    graph.until(graph.is_active)
    assert graph.fake.asked[0] == "1-4"
    graph.until(lambda: graph.readings[-1].mode == 1)
    assert graph.readings[-1].stop_cause == 3
    graph.end()


def test_who_walks_it_down_from_outside_is_obeyed(graph):
    node = graph.start()
    graph.until(graph.is_active)
    graph.order(operation=1, mode=4, grid_current_a=2.0)
    node.trigger_deactivate()
    assert graph.fake.raw["mode"] == 0
    assert graph.order(operation=1, mode=4, grid_current_a=2.0).error_code == 103
    assert graph.order(operation=1, mode=1).error_code == 0
    for _ in range(5):
        graph.executor.spin_once(timeout_sec=0.1)
    assert node.lifecycle_state == "inactive"
    graph.until(lambda: "driver_not_active" in [fault.code for fault in graph.faults])
    node.trigger_activate()
    assert graph.order(operation=1, mode=4, grid_current_a=2.0).error_code == 0
    graph.end()


def test_an_order_in_a_term_that_nobody_leads_is_refused_and_told_as_a_warning(graph):
    """Anybody may send one in an open grid; obeyed, it would lock all later grid masters out."""
    from apis_interfaces.msg import GridMasterClaim

    graph.start()
    graph.until(graph.is_active)
    say = graph.node.create_publisher(GridMasterClaim, "/apis/village/grid_master", 100)
    graph.until(lambda: say.get_subscription_count() > 0)
    say.publish(GridMasterClaim(kind=2, unit_id="E002", term=3))
    graph.until(lambda: graph.node.hardware.governor.held.led.term == 3)
    refused = graph.order(operation=1, mode=4, grid_current_a=2.0, term=99)
    assert refused.error_code == 103
    assert "nobody leads" in refused.error_msg
    graph.until(lambda: bool(graph.faults))
    assert (graph.faults[-1].code, graph.faults[-1].level) == ("order_of_no_grid_master", 1)
    assert graph.order(operation=1, mode=4, grid_current_a=2.0, term=3).error_code == 0
    graph.end()


@pytest.mark.parametrize("ros_arguments", [["--ros-args", "-p", "use_sim_time:=true"]])
def test_it_obeys_nobody_and_counts_nothing_before_its_clock_has_come(graph):
    """Else all the time before the clock's first tick, half a century, is a time of energy."""
    from rosgraph_msgs.msg import Clock as ClockMessage

    graph.fake.set(vg=350.0, ig=0.0, wg=0.0, vb=51.5, ib=-0.2, wb=-10.0)
    node = graph.start()
    graph.until(lambda: node.lifecycle_state == "inactive" and len(graph.readings) > 2)
    for _ in range(20):
        graph.executor.spin_once(timeout_sec=0.05)
    assert node.lifecycle_state == "inactive"
    assert graph.order(operation=1, mode=4, grid_current_a=2.0).error_code == 103
    clock = graph.watcher.create_publisher(ClockMessage, "/clock", 10)
    tick = ClockMessage()
    tick.clock.sec = 1_800_000_000

    def is_active():
        tick.clock.nanosec += 10_000_000
        clock.publish(tick)
        return graph.is_active()

    graph.until(is_active)
    assert graph.order(operation=1, mode=4, grid_current_a=2.0).error_code == 0
    seen = len(graph.readings)
    graph.until(lambda: is_active() and len(graph.readings) > seen + 2)
    newest = graph.readings[-1]
    counts = (newest.grid_discharged_wh, newest.battery_discharged_wh, newest.grid_charged_wh)
    assert max(counts) < 1.0
    graph.end()
