"""The node as others see it: a real process, a real rclpy client, and time that goes 20 times as
fast.
"""

from __future__ import annotations

import json
import math
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("own_ros_domain")]

rclpy = pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from rclpy.context import Context  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import BatteryState  # noqa: E402

from apis_interfaces.msg import BusState, ConverterState, HouseState  # noqa: E402
from apis_interfaces.srv import ConverterCommand, EmulatorControl, InjectFault  # noqa: E402

State, Request = ConverterState, ConverterCommand.Request
World, Fault = EmulatorControl.Request, InjectFault.Request
SPEED = 20.0
PATIENCE_S = 45.0  # a busy machine takes its time to start a process


@pytest.fixture(scope="module", autouse=True)
def only_this_machine() -> Iterator[None]:
    """For the client in this process and the emulator in its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        yield


class Client:
    """Collects what is published and calls the services."""

    def __init__(self) -> None:
        self.context = Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("client", namespace="/apis/test", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.seen: dict[str, list[Any]] = {}
        self.term = 1
        self.commands: dict[str, Any] = {}
        for topic, kind in (
            ("/clock", Clock),
            ("bus_state", BusState),
            ("/diagnostics", DiagnosticArray),
            *(
                (f"{unit}/{name}", kind)
                for unit in ("e001", "e002")
                for name, kind in (
                    ("converter_state", ConverterState),
                    ("battery_state", BatteryState),
                    ("house_state", HouseState),
                )
            ),
        ):
            self.seen[topic] = []
            self.node.create_subscription(kind, topic, self.seen[topic].append, 100)
        for unit in ("e001", "e002"):
            self.commands[unit] = self.node.create_client(
                ConverterCommand, f"{unit}/converter/command"
            )

    def until(self, condition: Callable[[], Any], what: str) -> None:
        """Spin until it is true."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline_s, f"waited in vain for {what}"
            self.executor.spin_once(timeout_sec=0.05)

    def command(self, unit: str, operation: int, **fields: Any) -> ConverterCommand.Response:
        nan = dict.fromkeys(("grid_voltage_v", "grid_current_a", "energy_limit_wh"), math.nan)
        values = nan | {"hold_s": 60.0, "term": self.term, "grid_master_id": "E001"} | fields
        client = self.commands[unit]
        self.until(client.service_is_ready, f"{unit}'s service")
        future = client.call_async(Request(operation=operation, **values))
        self.until(future.done, "an answer")
        return future.result()

    def ask(self, service_type: Any, name: str, **fields: Any) -> Any:
        """Call a service of the emulator itself."""
        service = self.node.create_client(service_type, name)
        self.until(service.service_is_ready, name)
        future = service.call_async(service_type.Request(**fields))
        self.until(future.done, "an answer")
        self.node.destroy_client(service)
        return future.result()

    def world(self, operation: int, **fields: Any) -> EmulatorControl.Response:
        return self.ask(EmulatorControl, "emulator/control", operation=operation, **fields)

    def inject(self, kind: int, **fields: Any) -> InjectFault.Response:
        values = {"value": math.nan, "duration_s": math.nan, **fields}
        return self.ask(InjectFault, "emulator/inject_fault", kind=kind, **values)

    def last(self, topic: str) -> Any:
        return self.seen[topic][-1]

    def until_mode(self, unit: str, mode: int) -> ConverterState:
        topic = f"{unit}/converter_state"
        self.until(
            lambda: self.seen[topic] and self.last(topic).mode == mode, f"{unit} in mode {mode}"
        )
        return self.last(topic)

    def rest(self) -> None:
        """Both converters to WAIT, whatever a test left; the next one has a term of its own."""
        for unit in ("e002", "e001"):
            self.command(unit, Request.OPERATION_MODE, mode=State.MODE_WAIT, term=0)
            self.until_mode(unit, State.MODE_WAIT)
        self.term += 10

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


def start(*parameters: str) -> subprocess.Popen[str]:
    arguments = [argument for parameter in parameters for argument in ("-p", parameter)]
    return subprocess.Popen(
        [sys.executable, "-m", "apis_emulator.main", "--ros-args", *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def grid_file(tmp_path_factory, hardware) -> str:
    """Two houses in the sun at noon; no profile needs modelling, so it starts at once."""
    tmp_path = tmp_path_factory.mktemp("grid")
    (tmp_path / "hardware.json").write_text(json.dumps(hardware))
    row = ",".join(["1000"] * 24)
    (tmp_path / "solar.csv").write_text("\n".join([row] * 365))
    rows = [
        f"0,{customer},0,0,0,0,{','.join(['0.4'] * 48)}" for customer in (1, 2) for _ in range(365)
    ]
    (tmp_path / "load.csv").write_text("\n".join(["header", *rows]))
    house = {
        "solar_csv": str(tmp_path / "solar.csv"),
        "load_csv": str(tmp_path / "load.csv"),
        "initial_soc_ratio": 0.5,
    }
    units = [
        {
            "id": f"E00{k}",
            "hardware": str(tmp_path / "hardware.json"),
            "scenario": "unused.json",
            "house": house,
        }
        for k in (1, 2)
    ]
    emulator = {"start": "2025-06-21T12:00:00", "bus": {"ramp_up_v_per_s": 100.0}}
    grid = {"cluster": "test", "policy": "unused.json", "units": units, "emulator": emulator}
    (tmp_path / "grid.json").write_text(json.dumps(grid))
    return str(tmp_path / "grid.json")


@contextmanager
def running(*parameters: str) -> Iterator[tuple[subprocess.Popen[str], Client]]:
    """An emulator and a client that has heard of everything that it publishes."""
    process = start(*parameters)
    client = Client()
    try:
        client.until(
            lambda: all(client.seen.values()) or process.poll() is not None, "every topic"
        )
        assert process.poll() is None, process.communicate()[1]
        yield process, client
    finally:
        client.close()
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def shared_client(grid_file) -> Iterator[Client]:
    with running(f"grid_file:={grid_file}", f"speed:={SPEED}") as (_, client):
        yield client


@pytest.fixture
def client(shared_client) -> Iterator[Client]:
    """The client of an emulator that several tests share: starting one takes seconds."""
    for messages in shared_client.seen.values():
        del messages[:-1]
    yield shared_client
    shared_client.rest()


def start_exchange(client: Client, hold_s: float, **fields: Any) -> None:
    """E001 holds the voltage, E002 charges."""
    reply = client.command(
        "e001",
        Request.OPERATION_MODE,
        mode=State.MODE_VOLTAGE_REFERENCE,
        grid_voltage_v=350.0,
        hold_s=hold_s,
    )
    assert reply.error_code == 0, reply.error_msg
    assert reply.state.mode == State.MODE_VOLTAGE_REFERENCE
    client.until(lambda: client.last("bus_state").voltage_v == 350.0, "the bus")
    reply = client.command(
        "e002",
        Request.OPERATION_MODE,
        mode=State.MODE_CHARGE,
        grid_current_a=2.0,
        hold_s=hold_s,
        **fields,
    )
    assert reply.error_code == 0, reply.error_msg


def test_readings_are_there_and_say_what_they_know(client):
    battery = client.last("e001/battery_state")
    assert battery.percentage == pytest.approx(0.5, abs=0.01)
    assert battery.temperature == pytest.approx(25.0, abs=5.0)  # of the pack
    assert math.isnan(battery.charge)
    assert (battery.location, battery.header.frame_id) == ("E001", "e001")
    house = client.last("e001/house_state")
    assert (house.unit_id, house.solar_power_w, house.load_power_w) == pytest.approx(
        ("E001", 1000.0, 400.0)
    )
    converter = client.last("e001/converter_state")
    assert (converter.mode, converter.alarm) == (State.MODE_WAIT, State.ALARM_NONE)
    assert converter.hold_remaining_s == 0.0
    assert client.last("bus_state").speed == SPEED


def test_clock_starts_at_the_place_and_runs_at_the_speed(client):
    clock = client.seen["/clock"]
    assert clock[0].clock.sec == pytest.approx(1_750_474_800, abs=300)  # noon in Tokyo
    first, began_s = clock[-1].clock, time.monotonic()
    client.until(lambda: clock[-1].clock.sec >= first.sec + 60, "a simulated minute")
    # A busy machine may be slower; at any other speed than about 20 the wait would be in vain.
    assert time.monotonic() - began_s > 0.8 * 60 / SPEED
    stamps = [c.clock.sec * 10**9 + c.clock.nanosec for c in clock]
    assert all(after > before for before, after in pairwise(stamps))


def test_diagnostics_say_how_fast_time_goes(client):
    client.until(lambda: client.seen["/diagnostics"], "diagnostics")
    (status,) = client.last("/diagnostics").status
    assert status.level in (DiagnosticStatus.OK, DiagnosticStatus.WARN)  # on a busy machine
    assert {value.key: value.value for value in status.values}["speed_asked"] == "20"


def test_exchange_ends_by_itself_at_its_energy(client):
    start_exchange(client, hold_s=60.0, energy_limit_wh=2.0)
    state = client.until_mode("e002", State.MODE_WAIT)
    assert state.stop_cause == State.STOP_ENERGY_REACHED
    before = client.seen["e002/converter_state"][0].grid_charged_wh
    assert state.grid_charged_wh - before == pytest.approx(2.0, abs=1e-6)
    assert client.last("e001/converter_state").mode == State.MODE_VOLTAGE_REFERENCE
    stamps = [s.stamp.sec * 10**9 + s.stamp.nanosec for s in client.seen["e002/converter_state"]]
    assert all(after > before for before, after in pairwise(stamps))


def test_orders_that_make_no_sense_are_refused(client):
    assert client.command("e001", 99).error_code == 102
    assert client.command("e001", Request.OPERATION_HOLD).error_code == 105
    reply = client.command("e001", Request.OPERATION_MODE, mode=77)
    assert reply.error_code == 102
    assert "mode is 77; it must be one of" in reply.error_msg
    reply = client.command("e002", Request.OPERATION_MODE, mode=State.MODE_CHARGE)
    assert reply.error_code == 102
    start_exchange(client, hold_s=60.0)
    for term in (client.term + 1, client.term):
        reply = client.command("e002", Request.OPERATION_HOLD, term=term)
    assert reply.error_code == 101
    assert reply.state.term == client.term + 1


def test_dead_man_stops_both_in_order(client):
    start_exchange(client, hold_s=1.5)
    for unit in ("e002", "e001"):
        state = client.until_mode(unit, State.MODE_WAIT)
        assert state.stop_cause == State.STOP_HOLD_EXPIRED
        assert "1.5 s" in state.stop_detail
    ended = {
        unit: next(
            s.stamp.sec
            for s in client.seen[f"{unit}/converter_state"]
            if s.stop_cause == State.STOP_HOLD_EXPIRED
        )
        for unit in ("e001", "e002")
    }
    assert ended["e002"] <= ended["e001"]


@pytest.mark.usefixtures("another_ros_domain")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_with_all_converters_in_wait(grid_file, number):
    parameters = (f"grid_file:={grid_file}", f"speed:={SPEED}")
    with running(*parameters) as (emulator, client):
        start_exchange(client, hold_s=60.0)
        emulator.send_signal(number)
        client.until_mode("e002", State.MODE_WAIT)
        state = client.until_mode("e001", State.MODE_WAIT)
        assert state.stop_cause == State.STOP_NONE
        _, errors = emulator.communicate(timeout=PATIENCE_S)
        assert emulator.returncode == 0
        assert "switched off" not in errors
        assert "Traceback" not in errors


@pytest.mark.usefixtures("another_ros_domain")
def test_second_signal_forces_the_end(grid_file):
    parameters = (f"grid_file:={grid_file}", "speed:=1.0")
    with running(*parameters) as (emulator, client):
        reply = client.command(
            "e001",
            Request.OPERATION_MODE,
            mode=State.MODE_VOLTAGE_REFERENCE,
            grid_voltage_v=350.0,
        )
        assert reply.error_code == 0
        client.until(lambda: client.last("bus_state").voltage_v > 300.0, "the bus")
        emulator.send_signal(signal.SIGINT)  # the ramp down takes 6 seconds

        def is_ending() -> bool:
            return client.command("e001", Request.OPERATION_HOLD).error_code == 103

        client.until(is_ending, "the end to begin")
        emulator.send_signal(signal.SIGINT)
        _, errors = emulator.communicate(timeout=PATIENCE_S)
        assert emulator.returncode == 0
        assert "switched off before they were ready for it: E001" in errors


def test_signal_while_it_starts_ends_it_quietly(grid_file):
    process = start(f"grid_file:={grid_file}")
    status = Path(f"/proc/{process.pid}/status")

    def is_listening() -> bool:
        caught = re.search(r"SigCgt:\s*(\w+)", status.read_text())
        is_python = "python" in Path(f"/proc/{process.pid}/cmdline").read_text()
        return is_python and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)

    deadline_s = time.monotonic() + PATIENCE_S
    while not is_listening():  # SIGTERM has a handler only once main() has begun
        assert time.monotonic() < deadline_s
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize(
    ("parameters", "line"),
    [
        ([], 'parameters: grid_file is "", it must name the resolved grid description'),
        (["grid_file:=/nowhere.json"], "/nowhere.json: No such file or directory"),
        (["grid_file:={grid}", "speed:=-1.0"], "/emulator parameters: speed is -1.0, must be"),
        (["grid_file:={grid}", "sped:=2"], "/apis/test/emulator parameters: sped: unknown"),
    ],
)
def test_wrong_configuration_is_one_line_and_exit_2(grid_file, parameters, line):
    process = start(*(p.format(grid=grid_file) for p in parameters))
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert errors.startswith(f"emulator: {line}")
    assert errors.count("\n") == 1


# --- what an operator may do ---------------------------------------------------------------------


def test_the_speed_changes_on_the_fly(client):
    answer = client.world(World.OPERATION_SPEED, speed=100.0)
    assert (answer.error_code, answer.speed) == (0, 100.0)
    assert "started for a speed of 20" in answer.note
    client.until(lambda: client.last("bus_state").speed == 100.0, "the new speed")
    wrong = client.world(World.OPERATION_SPEED, speed=0.05)
    assert wrong.error_code == EmulatorControl.Response.ERROR_OUT_OF_RANGE
    assert wrong.error_msg == "speed is 0.05, it must be from 0.1 to 10000"
    assert client.world(World.OPERATION_SPEED, speed=SPEED).note == ""


def test_a_state_goes_to_a_file_and_comes_back(client, tmp_path):
    file = str(tmp_path / "state.json")
    topic = "e001/battery_state"
    assert client.world(World.OPERATION_SAVE, file=file).error_code == 0
    saved = client.last(topic).percentage
    client.until(lambda: client.last(topic).percentage > saved + 1e-3, "the sun to charge")
    before = client.last("/clock").clock
    start_exchange(client, hold_s=60.0)
    busy = client.world(World.OPERATION_LOAD, file=file)
    assert busy.error_code == EmulatorControl.Response.ERROR_CONVERTERS_ON
    assert busy.error_msg.startswith("E001, E002: the converter must be in WAIT")
    client.rest()
    assert client.world(World.OPERATION_LOAD, file=file).error_code == 0
    client.until(lambda: client.last(topic).percentage < saved + 1e-3, "the state")
    clocks = [(c.clock.sec, c.clock.nanosec) for c in client.seen["/clock"]]
    assert clocks == sorted(clocks)
    assert clocks[-1][0] >= before.sec
    lost = client.world(World.OPERATION_LOAD, file=str(tmp_path / "nowhere.json"))
    assert lost.error_code == EmulatorControl.Response.ERROR_FILE
    assert "nowhere.json: no such file" in lost.error_msg


def test_units_come_and_go(client, grid_file):
    house = json.loads(Path(grid_file).read_text())["units"][0]
    house = {**house, "id": "E003"}
    house["house"] = {k: v for k, v in house["house"].items() if k != "load_csv"}
    house["house"]["load_wh_per_year"] = 0.0
    answer = client.world(World.OPERATION_ADD_UNIT, unit=json.dumps(house))
    assert (answer.error_msg, answer.unit_ids) == ("", ["E001", "E002", "E003"])
    heard: list[HouseState] = []
    client.node.create_subscription(HouseState, "e003/house_state", heard.append, 10)
    client.until(lambda: heard, "the new house")
    answer = client.world(World.OPERATION_REMOVE_UNIT, unit_id="E003")
    assert answer.unit_ids == ["E001", "E002"]
    wrong = client.world(World.OPERATION_REMOVE_UNIT, unit_id="E003")
    assert wrong.error_msg == "unit_id is E003, must be one of E001 E002"


def test_a_unit_falls_silent_and_its_dead_man_acts(client):
    start_exchange(client, hold_s=3.0)
    answer = client.inject(Fault.KIND_LOST_COMMUNICATION, unit_id="E002", duration_s=400.0)
    assert answer.active_faults[0].startswith(f"{answer.fault_id}: lost_communication E002 until")
    service = client.commands["e002"]
    client.until(lambda: not service.service_is_ready(), "the service to vanish")
    del client.seen["e002/converter_state"][:]
    client.until(service.service_is_ready, "the service again")
    state = client.until_mode("e002", State.MODE_WAIT)
    assert state.stop_cause == State.STOP_HOLD_EXPIRED
    assert client.world(World.OPERATION_READ).active_faults == []


def test_a_fault_is_injected_and_repaired(client):
    topic = "e001/converter_state"
    answer = client.inject(
        Fault.KIND_SENSOR_OFFSET, unit_id="E001", quantity="converter_temp_degc", value=30.0
    )
    assert answer.error_msg == ""
    client.until(lambda: client.last(topic).converter_temp_degc > 50.0, "a wrong reading")
    wrong = client.inject(Fault.KIND_REPAIR, fault_id="F99")
    assert wrong.error_msg == f"fault_id is F99, active are: {answer.fault_id}"
    assert client.inject(Fault.KIND_REPAIR).active_faults == []
    client.until(lambda: client.last(topic).converter_temp_degc < 50.0, "a right reading")
    wrong = client.inject(Fault.KIND_SENSOR_OFFSET, unit_id="E001", quantity="weight", value=1.0)
    assert wrong.error_code == InjectFault.Response.ERROR_OUT_OF_RANGE
    assert "quantity" in wrong.error_msg
    assert "grid_voltage_v" in wrong.error_msg


def test_the_summary(client, tmp_path):
    file = tmp_path / "days.csv"
    answer = client.world(World.OPERATION_SUMMARY, file=str(file))
    assert answer.error_msg == ""
    lines = file.read_text().splitlines()
    assert lines[0].startswith("day,unit_id,solar_wh,curtailed_wh,load_wh")
    rows = [line.split(",")[:2] for line in lines[1:]]
    for unit_id in ("E001", "E002", "bus"):
        assert ["2025-06-21", unit_id] in rows
        assert ["total", unit_id] in rows
    assert rows[-1] == ["total", "total"]
    wrong = client.world(World.OPERATION_SUMMARY, file=str(tmp_path / "days.xls"))
    assert wrong.error_code == EmulatorControl.Response.ERROR_FILE
    assert "must end in .csv or .parquet" in wrong.error_msg


def test_its_parameters_are_told_and_nobody_changes_them(client):
    """Every node answers `ros2 param list`; one without these services holds it up for seconds."""
    from rcl_interfaces.srv import DescribeParameters, ListParameters, SetParameters
    from rclpy.parameter import Parameter

    def asked(kind, name, **fields):
        service = client.node.create_client(kind, f"/apis/test/emulator/{name}")
        client.until(service.service_is_ready, name)
        future = service.call_async(kind.Request(**fields))
        client.until(future.done, name)
        return future.result()

    names = asked(ListParameters, "list_parameters").result.names
    assert {"grid_file", "speed", "use_sim_time"} <= set(names)
    told = asked(DescribeParameters, "describe_parameters", names=["speed"]).descriptors[0]
    assert told.read_only
    assert told.description
    change = Parameter("speed", value=3.0).to_parameter_msg()
    [result] = asked(SetParameters, "set_parameters", parameters=[change]).results
    assert not result.successful
    assert "read-only" in result.reason
