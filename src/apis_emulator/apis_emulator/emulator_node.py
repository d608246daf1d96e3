"""The emulator as a ROS node: the hardware of all units of a grid in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock as ClockMessage

from apis_core.model.units import LAST_TIME_S, SECOND_NS
from apis_emulator.emulation import Emulation
from apis_emulator.houses import start_of
from apis_emulator.operator import Operator
from apis_emulator.pacer import Pacer
from apis_emulator.parameters import PARAMETERS
from apis_emulator.plant_messages import bus_state
from apis_emulator.servers.plant_lock import PlantLock
from apis_emulator.servers.serving import DeviceServers
from apis_emulator.servers.tampering import TamperingError, parameters_of, tamper
from apis_emulator.unit_endpoints import UnitEndpoints
from apis_interfaces.msg import GridMasterClaim
from apis_interfaces.srv import EmulatorControl, InjectFault
from apis_ros import names, topics
from apis_ros.authenticator import MessageAuthenticator
from apis_ros.conversions import ROS_TIME
from apis_ros.converter_messages import (
    claim_of,
)
from apis_ros.diagnostics import Diagnostics, diagnosis
from apis_ros.names import cluster_namespace, in_cluster
from apis_ros.parameters import declare_parameters
from apis_site.grid import GridDescription
from apis_site.keys import read_keys

__all__ = ["EmulatorNode"]

TICK_S = 0.02  # wall; of a fast clock, and where drivers count energy by it
TICK_SIMULATED_S, LONGEST_TICK_S = 0.05, 0.05  # of a slow one; a turn costs as much as it does
CLOCK_PERIOD_S = 0.2  # between two words of /clock; less at a speed above 1
PUBLISH_SIMULATED_S, PUBLISH_WALL_S = 1.0, 0.1  # readings come at the slower of the two paces
DRAIN_S = 6.0  # for all converters to reach WAIT at the end


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
        keys = read_keys(Path(grid.keys)) if grid.keys else None
        tampering = parameters_of(self.devices, is_open=keys is None)
        declare_parameters(self, [*PARAMETERS, *tampering])
        self.add_on_set_parameters_callback(self._tamper)
        self._driver = emulation.driver
        self._authenticator = MessageAuthenticator(keys)
        self._pacer = Pacer(speed, now_s)
        self._start_ns = start_of(grid)
        self._published_s = (-PUBLISH_SIMULATED_S, now_s - PUBLISH_WALL_S)
        self._said_s = now_s  # the time
        self._ends_at_s: float | None = None
        self.is_ended = False

        claims = topics.GRID_MASTER
        self._claims = in_cluster(grid.cluster, claims.name)
        self.create_subscription(claims.type, self._claims, self._hear_claim, claims.qos)
        self.clock_publisher = topics.CLOCK.publisher(self)
        self._bus = topics.BUS_STATE.publisher(self)
        self._units = UnitEndpoints(
            self,
            emulation,
            self._lock,
            keys,
            behind_driver=self.devices.by_unit,
            real={unit.id for unit in grid.units if unit.driver is not None},
            now_ns=self._now_ns,
        )
        self._operator = Operator(emulation, self._pacer, grid.emulator.speed)
        self.create_service(EmulatorControl, names.EMULATOR_CONTROL, self._control)
        self.create_service(InjectFault, names.EMULATOR_INJECT_FAULT, self._inject)
        Diagnostics(self, self._report, self._stamp)

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
        self._units.wait_until_heard()
        self.devices.close()

    def _tamper(self, parameters: list[Parameter[Any]]) -> SetParametersResult:
        try:
            tamper(self.devices, ((parameter.name, parameter.value) for parameter in parameters))
        except TamperingError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _control(self, request: Any, response: Any) -> Any:
        return self._ask(self._operator.control, names.EMULATOR_CONTROL, request, response)

    def _inject(self, request: Any, response: Any) -> Any:
        return self._ask(self._operator.inject, names.EMULATOR_INJECT_FAULT, request, response)

    def _ask(
        self, carry_out: Callable[[Any, Any], None], name: str, request: Any, response: Any
    ) -> Any:
        """Have an operator's wish carried out, if it counts; units may come and go by it."""
        channel = f"{self.get_namespace()}/{name}"
        if why := self._authenticator.why_refused(request, channel):
            response.error_code, response.error_msg = response.ERROR_NOT_SIGNED, why
            return response
        with self._lock:
            carry_out(request, response)
            self._units.follow()
            return response

    def _hear_claim(self, message: GridMasterClaim) -> None:
        """Take note of whose orders count."""
        claim = claim_of(message)
        if claim is not None and not self._authenticator.why_refused(message, self._claims):
            self._driver.hear_claim(*claim)

    @property
    def tick_s(self) -> float:
        """Wall time between two calls of :meth:`tick`. [s]"""
        if self.devices.by_unit:
            return TICK_S
        return max(TICK_S, min(TICK_SIMULATED_S / self._pacer.speed, LONGEST_TICK_S))

    def tick(self) -> None:
        """Let the hardware go on to the present; call it every :attr:`tick_s`."""
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
                self._units.follow()
        self._say_the_time(now_s)
        simulated_s, wall_s = self._published_s
        if (
            self._emulation.clock_s >= simulated_s + PUBLISH_SIMULATED_S
            and now_s >= wall_s + PUBLISH_WALL_S
        ):
            self._publish_all(now_s)
        else:
            self._units.publish_changes(now_s)
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
        if now_s - self._said_s >= period_s - self.tick_s / 2:
            self._said_s = now_s
            self.clock_publisher.publish(ClockMessage(clock=self._stamp()))

    def _report(self) -> list[DiagnosticStatus]:
        pacer = self._pacer
        kept = f"{pacer.kept_ratio * pacer.speed:.3g}"
        pace = diagnosis(
            "emulator: pace",
            "emulator",
            DiagnosticStatus.WARN if pacer.is_slow else DiagnosticStatus.OK,
            f"simulated time goes {kept} times as fast as the clock",
            {
                "speed_asked": f"{pacer.speed:g}",
                "speed_kept": kept,
                "converters_on": " ".join(self._driver.active_ids()),
            },
        )
        return [pace, self._truth()] if self.devices.by_unit else [pace]

    def _truth(self) -> DiagnosticStatus:
        """What converters behind a driver really do, and what has moved at their terminals."""
        values: dict[str, str] = {}
        for unit_id in self.devices.by_unit:
            converter, name = self._plant.units[unit_id].converter, unit_id.lower()
            values[f"{name}.mode"] = converter.mode.name
            values[f"{name}.grid_charged_wh"] = f"{converter.charged_wh:.9g}"
            values[f"{name}.grid_discharged_wh"] = f"{converter.discharged_wh:.9g}"
        text = "what converters behind a driver really do"
        return diagnosis("emulator: converters", "emulator", DiagnosticStatus.OK, text, values)

    def _drain(self, now_s: float, ends_at_s: float) -> None:
        if now_s >= ends_at_s and (forced := self._driver.force_wait()):
            units = ", ".join(forced)
            self.get_logger().warning(f"switched off before they were ready for it: {units}")
        if not any(self._driver.active_ids()):
            self._publish_all(now_s)
            self.is_ended = True

    def _stamp(self) -> Time:
        return ROS_TIME.to_stamp(self._now_ns())

    def _now_ns(self) -> int:
        return self._start_ns + round(self._emulation.clock_s * 1e9)

    def _publish_all(self, now_s: float) -> None:
        self._published_s = (self._emulation.clock_s, now_s)
        self._units.publish_all(now_s)
        self._bus.publish(bus_state(self._plant.read_bus(), self._pacer.speed, self._stamp()))
