"""The driver as a ROS lifecycle node.

===============  ==================================================================================
unconfigured     nothing is open; orders get an error that says why
inactive         configured: the device has been opened, taken to WAIT, and is read all the time
active           orders are obeyed
===============  ==================================================================================

It walks up by itself (parameter ``autostart``), and when a device is not there, or has gone, it
stays or becomes unconfigured, says so once, and tries again with back-off. Somebody else may walk
it up and down, too: what is deactivated or cleaned up from outside stays so.
"""

from __future__ import annotations

import math
import time
from concurrent.futures import Future as ThreadFuture
from concurrent.futures import TimeoutError as ThreadTimeout
from dataclasses import dataclass, field, replace
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from apis_core.config.hardware import Hardware
from apis_core.converter.driver_contract import TO_WAIT, Complaint
from apis_core.model.errors import DeviceError
from apis_core.model.types import UnitId
from apis_driver.command_service import CommandService
from apis_driver.device import BatteryDevice, DcdcDevice
from apis_driver.driver_diagnostics import DriverDiagnostics
from apis_driver.driver_publisher import DriverPublisher
from apis_driver.http_server import CompatServer, HttpServerSettings
from apis_driver.parameters import GROUPS, PARAMETERS
from apis_driver.rules import GovernorSettings, Times
from apis_driver.unit_hardware import OPEN_LIMIT_S, UnitHardware
from apis_interfaces.msg import GridMasterClaim
from apis_ros import topics
from apis_ros.authenticator import UNSIGNED, MessageAuthenticator
from apis_ros.converter_messages import claim_of
from apis_ros.diagnostics import Diagnostics
from apis_ros.names import in_cluster, unit_namespace
from apis_ros.parameters import declare_parameters

__all__ = ["DriverNode", "DriverSetup"]

SUPERVISE_S = 0.1
BACKOFF_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
REMIND_WALL_S, REMIND_PLANT_S = 0.5, 10.0  # a unit forgets a fault that is not seen any more
DRAIN_S = 4.0  # for the converter to reach WAIT in order at the end
_OPEN_SLACK_S = 1.0


@dataclass(frozen=True, slots=True)
class DriverSetup:
    """What a driver node drives.

    Attributes:
        unit_id: Such as E001.
        cluster: Such as village.
        dcdc: Its converter, not yet open.
        battery: Its battery; None = somebody else publishes it.
        rules: What does not depend on the make of the converter.
        limits: Of the unit's hwConfig; None = the device's own.
        http: Where to serve the original drivers' interface.
        plant_rate: Simulated seconds per wall second.
        autostart: Walk up by itself.
        authenticator: Signs what it says, and refuses what does not count.
    """

    unit_id: UnitId
    cluster: str
    dcdc: DcdcDevice
    battery: BatteryDevice | None
    rules: GovernorSettings
    limits: Hardware | None
    http: HttpServerSettings = field(default_factory=HttpServerSettings)
    plant_rate: float = 1.0
    autostart: bool = True
    authenticator: MessageAuthenticator = UNSIGNED


class DriverNode(LifecycleNode):
    """The lifecycle node of one unit's converter and battery.

    Attributes:
        lifecycle_state: As ROS names it: unconfigured, inactive, active, finalized.
        failures: Tries to open the devices that failed, in a row.
    """

    def __init__(self, setup: DriverSetup) -> None:
        super().__init__("driver", namespace=unit_namespace(setup.cluster, setup.unit_id))
        self._setup = setup
        declare_parameters(self, PARAMETERS, GROUPS)
        is_simulated = bool(self.get_parameter("use_sim_time").value)
        self._wants_active = setup.autostart
        self._is_ours = False  # a transition of our own is under way
        self.lifecycle_state = "unconfigured"
        self.failures = 0
        self._retry_s = 0.0
        # when it was told that nobody is obeyed, by the wall's clock and the plant's
        self._idle_told_s = (time.monotonic(), -math.inf)
        self._why = "not started yet"
        self._ends_at_s: float | None = None
        self.is_ended = False

        self.publisher = publisher = DriverPublisher(
            self,
            setup.unit_id,
            setup.cluster,
            setup.authenticator,
            has_battery=setup.battery is not None,
        )
        self.hardware = UnitHardware(
            setup.dcdc,
            setup.battery,
            setup.rules,
            setup.limits,
            on_reading=publisher.reading,
            on_battery=publisher.battery,
            on_complaint=self._complain,
            times=Times(
                plant_s=self._plant_s if is_simulated else time.monotonic,
                plant_rate=setup.plant_rate if is_simulated else 1.0,
                stamp_ns=publisher.stamp_ns,
            ),
        )
        CommandService(
            self,
            setup.unit_id,
            self.hardware,
            setup.authenticator,
            why_absent=lambda: self._why if self.lifecycle_state == "unconfigured" else "",
            stamp_ns=publisher.stamp_ns,
        )
        claims = topics.GRID_MASTER
        self._claims = in_cluster(setup.cluster, claims.name)
        self.create_subscription(claims.type, self._claims, self._hear_claim, claims.qos)
        # Not the default clock: ROS time stalls when somebody sets the system clock back.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(SUPERVISE_S, self._supervise, clock=steady)
        self._parts = DriverDiagnostics(
            setup.unit_id, setup.dcdc, setup.battery, self.hardware, setup.authenticator
        )
        Diagnostics(self, self._report)
        self.hardware.start()
        self._server = CompatServer(setup.http, self.hardware)
        self._listen()

    # --- the process asks ------------------------------------------------------------------------

    def end(self) -> None:
        """Begin to end: the converter to WAIT in order; :attr:`is_ended` says when. A second time:
        at once.
        """
        now_s = time.monotonic()
        if self._ends_at_s is None:
            self._wants_active = False
            self._ends_at_s = now_s + DRAIN_S
            if self.hardware.is_open:
                self.hardware.stop()
        else:
            self._ends_at_s = now_s

    def close(self) -> None:
        """End the threads; before the node is destroyed."""
        self._server.close()
        self.hardware.end()

    def _listen(self) -> None:
        http = self._setup.http
        if not http.port:
            return
        try:
            port = self._server.start()
        except OSError as error:
            self.get_logger().error(f"http://{http.host}:{http.port}: {error.strerror}")
        else:
            self.get_logger().info(f"serves the original's interface on http://{http.host}:{port}")

    # --- lifecycle -------------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Open the device and take it to WAIT."""
        try:
            self.hardware.open().result(OPEN_LIMIT_S + _OPEN_SLACK_S)
        except (DeviceError, ThreadTimeout) as failure:
            self._note_failure(str(failure) or "the device takes too long")
            return TransitionCallbackReturn.FAILURE
        self.failures, self._why = 0, ""
        self.lifecycle_state = "inactive"
        self.get_logger().info(f"connected to the converter at {self._setup.dcdc.address}")
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Obey orders from now on."""
        self.hardware.is_active = True
        self.lifecycle_state = "active"
        if not self._is_ours:
            self._wants_active = True
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """To WAIT; only WAIT and READ are obeyed from now on."""
        self._stand_down()
        self.lifecycle_state, self._idle_told_s = "inactive", (-math.inf, -math.inf)
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let the device go."""
        self._stand_down()
        self._let_go()
        self.lifecycle_state = "unconfigured"
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """To WAIT, and let the device go for good."""
        self._stand_down()
        self._let_go()
        self.lifecycle_state = "finalized"
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Bring the converter to WAIT and let the device go."""
        return self.on_cleanup(state)

    def _stand_down(self) -> None:
        self.hardware.is_active = False
        if not self._is_ours:
            self._wants_active = False
        if self.hardware.is_open and not self.hardware.governor.is_off:
            self._wait_for(self.hardware.handle(TO_WAIT))

    def _let_go(self) -> None:
        self._wait_for(self.hardware.close())

    @staticmethod
    def _wait_for(future: ThreadFuture[Any]) -> None:
        """Threads keep their deadlines; a bit more than the longest is for a busy machine."""
        try:
            future.result(2 * OPEN_LIMIT_S + _OPEN_SLACK_S)
        except (DeviceError, ThreadTimeout):
            return  # the dead man does the rest

    def _supervise(self) -> None:
        """Walk up, notice a lost device, and end."""
        if self.hardware.failure is not None:
            raise self.hardware.failure  # whoever started us starts us again, with WAIT first
        if self._ends_at_s is not None:
            self._drain(self._ends_at_s)
            return
        lost = self.hardware.governor.lost if self.lifecycle_state != "unconfigured" else ""
        if lost:
            self._note_failure(lost)
            self._ours("deactivate" if self.lifecycle_state == "active" else "cleanup")
            if self.lifecycle_state == "inactive":
                self._ours("cleanup")
        elif not self._wants_active:
            self._tell_that_nobody_is_obeyed()
        elif time.monotonic() >= self._retry_s:
            if self.lifecycle_state == "unconfigured":
                self._ours("configure")
            # before its clock has come it says WAIT and reads: what is on could not be counted
            if self.lifecycle_state == "inactive" and self._plant_s() > 0.0:
                self._ours("activate")

    def _tell_that_nobody_is_obeyed(self) -> None:
        """So that the unit makes no deals that it cannot keep; told again, as it lasts."""
        now_s, plant_s = time.monotonic(), self._plant_s()
        wall_told_s, plant_told_s = self._idle_told_s
        is_soon = now_s < wall_told_s + REMIND_WALL_S or plant_s < plant_told_s + REMIND_PLANT_S
        if self.lifecycle_state == "active" or is_soon:
            return
        self._idle_told_s = (now_s, plant_s)
        why = f"the driver is {self.lifecycle_state}; it obeys only WAIT and READ"
        self._complain(Complaint("driver_not_active", why))

    def _ours(self, transition: str) -> None:
        self._is_ours = True
        try:
            getattr(self, f"trigger_{transition}")()
        finally:
            self._is_ours = False

    def _note_failure(self, why: str) -> None:
        wait_s = BACKOFF_S[min(self.failures, len(BACKOFF_S) - 1)]
        self.failures += 1
        self._retry_s = time.monotonic() + wait_s
        if why != self._why:  # once, not with every try
            self.get_logger().error(f"converter: {why}; trying again")
            complaint = Complaint("converter_unreachable", why)
            self.publisher.fault(complaint, self.hardware.governor.deal_id)
        self._why = why
        self.publisher.reading_now(replace(self.hardware.governor.reading(), stop_detail=why))

    def _drain(self, ends_at_s: float) -> None:
        hardware = self.hardware
        if hardware.is_open and not hardware.governor.is_off and time.monotonic() < ends_at_s:
            return
        self._let_go()
        self.is_ended = True

    # --- what is heard and said ------------------------------------------------------------------

    def _hear_claim(self, message: GridMasterClaim) -> None:
        """Take note of whose orders count; the unit itself decides apart from this."""
        claim = claim_of(message)
        if claim is None or self._setup.authenticator.why_refused(message, self._claims):
            return
        self.hardware.governor.hear_claim(*claim)

    def _complain(self, complaint: Complaint) -> None:
        self.publisher.complain(complaint, self.hardware.governor.deal_id)

    def _plant_s(self) -> float:
        return self.get_clock().now().nanoseconds * 1e-9

    def _report(self) -> list[DiagnosticStatus]:
        if complaint := self._setup.authenticator.complaint():
            self.get_logger().warning(complaint)
        retry_s = max(self._retry_s - time.monotonic(), 0.0)
        return self._parts.report(self.lifecycle_state, self._why, retry_s)
