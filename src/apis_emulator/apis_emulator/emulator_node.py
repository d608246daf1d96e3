"""The emulator as a ROS node: the hardware of all units of a grid in one process."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.executors import Executor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock as ClockMessage

from apis_core.converter.driver_contract import FROM_NOBODY, Complaint, protective_stop
from apis_core.model.errors import ConfigError, Problem
from apis_core.model.messages import ConverterReading, ConverterReply
from apis_core.model.types import ConverterError, ConverterMode, FaultLevel, UnitId
from apis_core.model.units import LAST_TIME_S, SECOND_NS
from apis_driver.translate import claim as claim_of
from apis_driver.translate import converter_order, converter_state, fill_reply, time_of
from apis_driver.translate import fault as fault_of
from apis_emulator import translate
from apis_emulator.emulation import Emulation
from apis_emulator.houses import start_of
from apis_emulator.operator import Operator
from apis_emulator.pacer import Pacer
from apis_emulator.servers.plant_lock import PlantLock
from apis_emulator.servers.serving import DeviceServers
from apis_emulator.servers.tampering import TamperingError, parameters_of, tamper
from apis_interfaces.msg import GridMasterClaim
from apis_interfaces.srv import ConverterCommand, EmulatorControl, InjectFault
from apis_ros import names, topics
from apis_ros.authenticator import MessageAuthenticator
from apis_ros.executor import NodeExecutor
from apis_ros.names import cluster_namespace, in_cluster, of_unit
from apis_ros.parameters import NodeParameter, declare_parameters
from apis_ros.topics import Topic
from apis_site.grid import GridDescription, parse_grid
from apis_site.keys import read_keys

__all__ = ["EmulatorNode", "run"]

TICK_S = 0.02
CLOCK_PERIOD_S = 0.2  # between two words of /clock; less at a speed above 1
DIAGNOSTICS_PERIOD_S = 1.0
PUBLISH_SIMULATED_S, PUBLISH_WALL_S = 1.0, 0.1  # readings come at the slower of the two paces
DRAIN_S = 6.0  # for all converters to reach WAIT at the end
LAST_WORD_S = 0.5  # for somebody who hears that
LEAVE_LIMIT_S = 3  # for leaving the graph

PARAMETERS = (
    NodeParameter(
        name="grid_file", default="", about="Path of the resolved grid description (JSON); needed"
    ),
    NodeParameter(
        name="speed",
        default=0.0,
        about="Simulated seconds per second; 0 = as the grid says; while it runs: apisctl world",
        least=0.0,
        most=10_000.0,
    ),
)


class EmulatorNode(Node):
    """Publishes what the hardware measures, takes orders to converters, and drives ``/clock``.

    Units with devices of their own (serial lines, HTTP) have a driver that does the first two.

    Args:
        grid: Whose hardware it is.
        emulation: The hardware.
        speed: Simulated seconds per wall second.
        tty_folder: Where the serial lines of the devices appear.
    """

    def __init__(
        self, grid: GridDescription, emulation: Emulation, speed: float, tty_folder: Path
    ) -> None:
        super().__init__(
            "emulator",
            namespace=cluster_namespace(grid.cluster),
            # It makes the time that others go by.
            parameter_overrides=[Parameter("use_sim_time", value=False)],
        )
        now_s = time.monotonic()
        self._emulation = emulation
        self._plant = plant = emulation.plant
        self._lock = PlantLock()  # of the plant; devices are served by threads
        self.devices = DeviceServers(plant, self._lock, grid.units, tty_folder)
        self._real = real = {unit.id for unit in grid.units if unit.driver is not None}
        self._native = [i for i in plant.units if i not in self.devices.by_unit.keys() | real]
        self._keys = read_keys(Path(grid.keys)) if grid.keys else None
        tampering = parameters_of(self.devices, is_open=self._keys is None)
        declare_parameters(self, [*PARAMETERS, *tampering])
        self.add_on_set_parameters_callback(self._tamper)
        self._driver = emulation.driver
        self._authenticators: dict[UnitId, MessageAuthenticator] = {}
        self._authenticator = MessageAuthenticator(self._keys)
        self._pacer = Pacer(speed, now_s)
        self._start_ns = start_of(grid)
        self._reading_ns = 0
        self._modes = dict.fromkeys(self._native, ConverterMode.WAIT)
        self._published_s = (-PUBLISH_SIMULATED_S, now_s - PUBLISH_WALL_S)
        self._said_s = now_s  # the time
        self._ends_at_s: float | None = None
        self.is_ended = False

        claims = topics.GRID_MASTER
        self._claims = in_cluster(grid.cluster, claims.name)
        self.create_subscription(claims.type, self._claims, self._hear_claim, claims.qos)
        self._faults, self._clock_publisher, self._bus, self._diagnostics = (
            self.create_publisher(topic.type, topic.name, topic.qos)
            for topic in (topics.FAULTS, topics.CLOCK, topics.BUS_STATE, topics.DIAGNOSTICS)
        )
        self._converters = self._per_unit(topics.CONVERTER_STATE, self._native)
        self._batteries = self._per_unit(topics.BATTERY_STATE, self._native)
        self._houses = self._per_unit(
            topics.HOUSE_STATE, [i for i in plant.units if i not in real]
        )
        self._commands: dict[UnitId, Any] = {}
        self._follow()
        self._operator = Operator(emulation, self._pacer, grid.emulator.speed)
        self.create_service(EmulatorControl, names.EMULATOR_CONTROL, self._control)
        self.create_service(InjectFault, names.EMULATOR_INJECT_FAULT, self._inject)
        # Not the default clock: ROS time stalls when somebody sets the system clock back.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(DIAGNOSTICS_PERIOD_S, self._diagnose, clock=steady)

    def end(self) -> None:
        """Begin to end: all converters to WAIT. A second time: at once."""
        now_s = time.monotonic()
        if self._ends_at_s is None:
            with self._lock:
                self._driver.end(now_s)
            self._ends_at_s = now_s + DRAIN_S
        else:
            self._ends_at_s = now_s

    def close(self) -> None:
        """Unplug the devices, once what was said last has been heard; before the node is
        destroyed.
        """
        until_s = time.monotonic() + LAST_WORD_S
        for publisher in self._converters.values():
            left_s = max(until_s - time.monotonic(), 0.0)
            publisher.wait_for_all_acked(Duration(seconds=left_s))
        self.devices.close()

    def _tamper(self, parameters: list[Parameter[Any]]) -> SetParametersResult:
        try:
            tamper(self.devices, ((parameter.name, parameter.value) for parameter in parameters))
        except TamperingError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _per_unit(self, topic: Topic, unit_ids: Iterable[UnitId]) -> dict[UnitId, Any]:
        return {
            unit_id: self.create_publisher(topic.type, of_unit(unit_id, topic.name), topic.qos)
            for unit_id in unit_ids
        }

    def _control(self, request: Any, response: Any) -> Any:
        if why := self._authenticator.why_refused(
            request, f"{self.get_namespace()}/{names.EMULATOR_CONTROL}"
        ):
            response.error_code, response.error_msg = response.ERROR_NOT_SIGNED, why
            return response
        with self._lock:
            self._operator.control(request, response)
            self._follow()
            return response

    def _inject(self, request: Any, response: Any) -> Any:
        if why := self._authenticator.why_refused(
            request, f"{self.get_namespace()}/{names.EMULATOR_INJECT_FAULT}"
        ):
            response.error_code, response.error_msg = response.ERROR_NOT_SIGNED, why
            return response
        with self._lock:
            self._operator.inject(request, response)
            self._follow()
            return response

    def _follow(self) -> None:
        """Have a publisher and a service for every unit that is there and can be heard."""
        silent = self._driver.broken.silent
        there = self._plant.units.keys() - self.devices.by_unit.keys() - self._real
        for unit_id in self._plant.units.keys() - self._houses.keys() - self._real:
            self._houses |= self._per_unit(topics.HOUSE_STATE, [unit_id])
        for unit_id in there - self._modes.keys():
            self._native.append(unit_id)
            self._modes[unit_id] = ConverterMode.WAIT
            self._converters |= self._per_unit(topics.CONVERTER_STATE, [unit_id])
            self._batteries |= self._per_unit(topics.BATTERY_STATE, [unit_id])
        for unit_id in self._houses.keys() - self._plant.units.keys():
            self.destroy_publisher(self._houses.pop(unit_id))
        for unit_id in self._modes.keys() - there:
            self._native.remove(unit_id)
            del self._modes[unit_id]
            self.destroy_publisher(self._converters.pop(unit_id))
            self.destroy_publisher(self._batteries.pop(unit_id))
        for unit_id in self._commands.keys() - (there - silent):
            self.destroy_service(self._commands.pop(unit_id))
        for unit_id in there - silent - self._commands.keys():
            self._commands[unit_id] = self._serve(unit_id)

    def _serve(self, unit_id: UnitId) -> Any:
        channel = f"{self.get_namespace()}/{of_unit(unit_id, names.CONVERTER_COMMAND)}"
        return self.create_service(ConverterCommand, channel, self._server(unit_id, channel))

    def _authenticator_of(self, unit_id: UnitId) -> MessageAuthenticator:
        """The authenticator of a unit's hardware."""
        if unit_id not in self._authenticators:
            has_key = self._keys is not None and unit_id in self._keys.roles
            self._authenticators[unit_id] = MessageAuthenticator(
                self._keys, unit_id if has_key else ""
            )
        return self._authenticators[unit_id]

    def _server(self, unit_id: UnitId, channel: str) -> Callable[[Any, Any], Any]:
        authenticator = self._authenticator_of(unit_id)

        def serve(request: Any, response: Any) -> Any:
            with self._lock:
                return authenticator.sign(answer(request, response), channel, request)

        def answer(request: Any, response: Any) -> Any:
            now_s = time.monotonic()
            order = converter_order(request)
            if why := authenticator.why_refused(request, channel, speaker=unit_id):
                reply = ConverterReply(error=ConverterError.REFUSED, message=why)
            elif order is None:
                reply = ConverterReply(
                    error=ConverterError.OUT_OF_RANGE,
                    message=f"operation is {request.operation}, it must be 0 to 4",
                )
            else:
                if why := self._driver.why_from_nobody(unit_id, order):
                    self._complain(unit_id, Complaint(FROM_NOBODY, why, FaultLevel.WARN))
                reply = self._driver.handle(unit_id, order, now_s)
            self._publish_changes(now_s)
            reply = replace(reply, reading=self._read(unit_id, now_s))
            return fill_reply(response, reply, unit_id)

        return serve

    def _hear_claim(self, message: GridMasterClaim) -> None:
        """Take note of whose orders count."""
        claim = claim_of(message)
        if claim is not None and not self._authenticator.why_refused(message, self._claims):
            self._driver.hear_claim(*claim)

    def _complain(self, unit_id: UnitId, complaint: Complaint) -> None:
        self.get_logger().warning(f"{unit_id}: {complaint.code}: {complaint.message}")
        deal_id = self._driver.deal_id(unit_id)
        fault = fault_of(unit_id, complaint, deal_id, self._now_ns())
        self._faults.publish(self._authenticator_of(unit_id).sign(fault, self._faults.topic_name))

    def tick(self) -> None:
        """Let the hardware go on to the present; call it every `TICK_S`."""
        with self._lock:
            self._advance(time.monotonic())

    def _advance(self, now_s: float) -> None:
        self._driver.watch(now_s)
        self.devices.watch(now_s)
        step_s = self._pacer.due_s(now_s)
        if step_s > 0.0:
            broken = self._driver.broken
            self._emulation.step(step_s)
            if self._driver.broken is not broken:
                self._follow()
        self._say_the_time(now_s)
        simulated_s, wall_s = self._published_s
        if (
            self._emulation.clock_s >= simulated_s + PUBLISH_SIMULATED_S
            and now_s >= wall_s + PUBLISH_WALL_S
        ):
            self._publish_all(now_s)
        else:
            self._publish_changes(now_s)
        if complaint := self._pacer.complaint(now_s):
            self.get_logger().warning(complaint)
        if self._ends_at_s is None and self._now_ns() >= LAST_TIME_S * SECOND_NS:
            self.get_logger().error(
                "the emulated time ends here: messages of ROS know none after 2038-01-19"
            )
            self._driver.end(now_s)
            self._ends_at_s = now_s + DRAIN_S
        if self._ends_at_s is not None:
            self._drain(now_s, self._ends_at_s)

    def _say_the_time(self, now_s: float) -> None:
        """Tell all others what time it is, five times a second, or more often at a higher speed.

        A word wakes every node of the grid; units reckon on by themselves. Drivers of emulated
        devices count energy by it, so they are told as often as the plant goes on.
        """
        period_s = 0.0 if self.devices.by_unit else CLOCK_PERIOD_S / max(self._pacer.speed, 1.0)
        if now_s - self._said_s >= period_s - TICK_S / 2:
            self._said_s = now_s
            self._clock_publisher.publish(ClockMessage(clock=self._stamp()))

    def _diagnose(self) -> None:
        pacer = self._pacer
        level = DiagnosticStatus.WARN if pacer.is_slow else DiagnosticStatus.OK
        kept = f"{pacer.kept_ratio * pacer.speed:.3g}"
        status = DiagnosticStatus(
            level=level,
            name="emulator: pace",
            message=f"simulated time goes {kept} times as fast as the clock",
            hardware_id="emulator",
            values=[
                KeyValue(key="speed_asked", value=f"{pacer.speed:g}"),
                KeyValue(key="speed_kept", value=kept),
                KeyValue(key="converters_on", value=" ".join(self._driver.active_ids())),
            ],
        )
        message = DiagnosticArray(status=[status])
        if self.devices.by_unit:
            message.status.append(self._truth())
        message.header.stamp = self._stamp()
        self._diagnostics.publish(message)

    def _truth(self) -> DiagnosticStatus:
        """What converters behind a driver really do, and what has moved at their terminals."""
        values: dict[str, object] = {}
        for unit_id in self.devices.by_unit:
            converter, name = self._plant.units[unit_id].converter, unit_id.lower()
            values[f"{name}.mode"] = converter.mode.name
            values[f"{name}.grid_charged_wh"] = f"{converter.charged_wh:.9g}"
            values[f"{name}.grid_discharged_wh"] = f"{converter.discharged_wh:.9g}"
        return DiagnosticStatus(
            level=DiagnosticStatus.OK,
            name="emulator: converters",
            message="what converters behind a driver really do",
            hardware_id="emulator",
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )

    def _drain(self, now_s: float, ends_at_s: float) -> None:
        if now_s >= ends_at_s and (forced := self._driver.force_wait()):
            units = ", ".join(forced)
            self.get_logger().warning(f"switched off before they were ready for it: {units}")
        if not any(self._driver.active_ids()):
            self._publish_all(now_s)
            self.is_ended = True

    def _stamp(self) -> Time:
        return time_of(self._now_ns())

    def _read(self, unit_id: UnitId, now_s: float) -> ConverterReading:
        """Read a converter, with a later stamp than any before: two within a tick may differ."""
        self._reading_ns = max(self._now_ns(), self._reading_ns + 1)
        return self._driver.read(unit_id, now_s, self._reading_ns)

    def _now_ns(self) -> int:
        return self._start_ns + round(self._emulation.clock_s * 1e9)

    def _publish_all(self, now_s: float) -> None:
        stamp = self._stamp()
        self._published_s = (self._emulation.clock_s, now_s)
        silent = self._driver.broken.silent
        for unit_id, unit in self._plant.units.items():
            if unit_id in self._batteries and unit_id not in silent:
                self._publish_converter(unit_id, now_s)
                self._batteries[unit_id].publish(translate.battery_state(unit_id, unit, stamp))
            if unit_id in self._houses:
                self._houses[unit_id].publish(translate.house_state(unit_id, unit, stamp))
        speed = self._pacer.speed
        self._bus.publish(translate.bus_state(self._plant.read_bus(), speed, stamp))

    def _publish_changes(self, now_s: float) -> None:
        """Nobody should have to wait for the news that a converter has changed its mode."""
        for unit_id, mode in self._modes.items():
            if unit_id in self._driver.broken.silent:
                continue
            if self._plant.units[unit_id].converter.mode is not mode:
                self._publish_converter(unit_id, now_s)

    def _publish_converter(self, unit_id: UnitId, now_s: float) -> None:
        reading = self._read(unit_id, now_s)
        if reading.mode is not self._modes[unit_id] and (why := protective_stop(reading)):
            self.get_logger().warning(f"{unit_id} stops its converter: {why}")
        self._modes[unit_id] = reading.mode
        message = converter_state(unit_id, reading)
        publisher = self._converters[unit_id]
        publisher.publish(self._authenticator_of(unit_id).sign(message, publisher.topic_name))


def run(args: list[str] | None, signals: list[int]) -> int:
    """Run until a signal comes; 0 then, 2 if the configuration is wrong.

    Args:
        args: Command line with ROS arguments; None = that of the process.
        signals: Where the signal handlers put what came; it may hold one already.
    """
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # rclpy has several kinds for arguments that it cannot read
        print(f"emulator: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    try:
        grid, speed, tty_folder = _configuration()
        emulation = Emulation(grid)
        if not signals:
            node = EmulatorNode(grid, emulation, speed, tty_folder)
            units = len(grid.units)
            node.get_logger().info(f"{units} units, {speed:g} times as fast as the clock")
            _spin(node, signals)
            node.close()
            signal.alarm(LEAVE_LIMIT_S)  # as the unit's process does, and for its reason
            node.destroy_node()
    except ConfigError as error:
        for problem in error.problems:
            print(f"emulator: {problem}", file=sys.stderr)
        return 2
    finally:
        rclpy.shutdown()
        signal.alarm(0)
    return 0


def _spin(node: EmulatorNode, signals: list[int]) -> None:
    executor: Executor = NodeExecutor()
    executor.add_node(node)
    due_s = time.monotonic()
    while not node.is_ended:
        # No timer of the graph: one that fires fifty times a second costs more than what it does.
        now_s = time.monotonic()
        if now_s >= due_s:
            due_s = max(due_s + TICK_S, now_s)
            node.tick()
        executor.spin_once(timeout_sec=max(due_s - time.monotonic(), 0.0))
        if signals:
            signals.pop()
            node.end()
    executor.shutdown()


def _configuration() -> tuple[GridDescription, float, Path]:
    """Grid description, speed and folder of serial lines, from the parameters of the process.

    The namespace of the node stands in the description, so a node for the parameters comes first.
    """
    node = Node("emulator", enable_rosout=False, start_parameter_services=False)
    try:  # those with which one tampers are known when the grid is
        own = declare_parameters(node, PARAMETERS, are_all=False)
    finally:
        node.destroy_node()
    grid_file = own["grid_file"]
    if not grid_file:
        right = "it must name the resolved grid description"
        raise ConfigError([Problem("parameters", "grid_file", '""', right)])
    grid, tty_folder = _read_grid(grid_file), Path(grid_file).parent / "tty"
    return grid, own["speed"] or grid.emulator.speed, tty_folder


def _read_grid(file: str) -> GridDescription:
    try:
        return parse_grid(json.loads(Path(file).read_text(encoding="utf-8")), file)
    except OSError as error:
        raise ConfigError([Problem(file, "", "", error.strerror or str(error))]) from error
    except ValueError as error:
        raise ConfigError([Problem(file, "", "", f"it must be JSON: {error}")]) from error
