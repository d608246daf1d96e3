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
import threading
import time
from collections import deque
from concurrent.futures import Future as ThreadFuture
from concurrent.futures import TimeoutError as ThreadTimeout
from dataclasses import dataclass, field, replace
from typing import Any, cast

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.task import Future

from apis_control import Timing as LoopTiming
from apis_core.config.hardware import Hardware
from apis_core.converter.driver_contract import TO_WAIT, Complaint, protective_stop
from apis_core.model.errors import DeviceError
from apis_core.model.messages import ConverterReading, ConverterReply
from apis_core.model.types import ConverterError, ConverterMode, FaultLevel, UnitId
from apis_driver import translate
from apis_driver.device import BatteryDevice, BatteryStatus, DcdcDevice
from apis_driver.http_server import CompatServer, HttpServerSettings
from apis_driver.parameters import GROUPS, PARAMETERS
from apis_driver.rules import GovernorSettings, Times
from apis_driver.unit_hardware import OPEN_LIMIT_S, Timing, UnitHardware
from apis_interfaces.msg import GridMasterClaim
from apis_interfaces.srv import ConverterCommand
from apis_ros import names, topics
from apis_ros.authenticator import UNSIGNED, MessageAuthenticator
from apis_ros.names import in_cluster, unit_namespace
from apis_ros.parameters import declare_parameters
from apis_ros.topics import Topic

__all__ = ["DriverNode", "DriverSetup"]

SUPERVISE_S = 0.1
DIAGNOSTICS_S = 1.0
PUBLISH_S = 0.2  # a reading that says nothing new; news go out at once
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
    """The lifecycle node of one unit's converter and battery."""

    def __init__(self, setup: DriverSetup) -> None:
        super().__init__("driver", namespace=unit_namespace(setup.cluster, setup.unit_id))
        self._setup = setup
        declare_parameters(self, PARAMETERS, GROUPS)
        is_simulated = bool(self.get_parameter("use_sim_time").value)
        self._stamp_lock = threading.Lock()
        self._newest_ns = 0
        self._published: tuple[ConverterMode, float] = (ConverterMode.UNKNOWN, 0.0)
        self._finished: deque[tuple[Future[Any], ConverterReply]] = deque()
        self._wants_active = setup.autostart
        self._is_ours = False  # a transition of our own is under way
        self._state = "unconfigured"
        self._failures = 0
        self._retry_s = 0.0
        # when it was told that nobody is obeyed, by the wall's clock and the plant's
        self._idle_told_s = (time.monotonic(), -math.inf)
        self._why = "not started yet"
        self._last_complaint: Complaint | None = None
        self._ends_at_s: float | None = None
        self._missed = 0  # ticks of the control loop, by the last report
        self.is_ended = False

        self._readings = self._publisher(topics.CONVERTER_STATE)
        self._batteries = (
            self._publisher(topics.BATTERY_STATE) if setup.battery is not None else None
        )
        self._faults = self._publisher(topics.FAULTS, in_cluster(setup.cluster, names.FAULTS))
        self._diagnostics = self._publisher(topics.DIAGNOSTICS)
        self.hardware = UnitHardware(
            setup.dcdc,
            setup.battery,
            setup.rules,
            setup.limits,
            on_reading=self._publish_reading,
            on_battery=self._publish_battery,
            on_complaint=self._complain,
            times=Times(
                plant_s=self._plant_s if is_simulated else time.monotonic,
                plant_rate=setup.plant_rate if is_simulated else 1.0,
                stamp_ns=self._stamp_ns,
            ),
        )
        self._waker = self.create_guard_condition(self._answer)
        # reentrant: an order waits for the converter's thread, and nothing else waits for an order
        orders = ReentrantCallbackGroup()
        self._command_name = f"{self.get_namespace()}/{names.CONVERTER_COMMAND}"
        self.create_service(
            ConverterCommand, self._command_name, self._serve, callback_group=orders
        )
        self._claims = in_cluster(setup.cluster, names.GRID_MASTER)
        claims = topics.GRID_MASTER
        self.create_subscription(claims.type, self._claims, self._hear_claim, claims.qos)
        # Not the default clock: ROS time stalls when somebody sets the system clock back.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(SUPERVISE_S, self._supervise, clock=steady)
        self.create_timer(DIAGNOSTICS_S, self._diagnose, clock=steady)
        self.hardware.start()
        self._server = CompatServer(setup.http, self.hardware)
        self._listen()

    def _publisher(self, topic: Topic, name: str = "") -> Any:
        return self.create_publisher(topic.type, name or topic.name, topic.qos)

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
        self._failures, self._why = 0, ""
        self._state = "inactive"
        self.get_logger().info(f"connected to the converter at {self._setup.dcdc.address}")
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Obey orders from now on."""
        self.hardware.is_active = True
        self._state = "active"
        if not self._is_ours:
            self._wants_active = True
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """To WAIT; only WAIT and READ are obeyed from now on."""
        self._stand_down()
        self._state, self._idle_told_s = "inactive", (-math.inf, -math.inf)
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let the device go."""
        self._stand_down()
        self._let_go()
        self._state = "unconfigured"
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """To WAIT, and let the device go for good."""
        self._stand_down()
        self._let_go()
        self._state = "finalized"
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
        lost = self.hardware.governor.lost if self._state != "unconfigured" else ""
        if lost:
            self._note_failure(lost)
            self._ours("deactivate" if self._state == "active" else "cleanup")
            if self._state == "inactive":
                self._ours("cleanup")
        elif not self._wants_active:
            self._tell_that_nobody_is_obeyed()
        elif time.monotonic() >= self._retry_s:
            if self._state == "unconfigured":
                self._ours("configure")
            if self._state == "inactive":
                self._ours("activate")

    def _tell_that_nobody_is_obeyed(self) -> None:
        """So that the unit makes no deals that it cannot keep; told again, as it lasts."""
        now_s, plant_s = time.monotonic(), self._plant_s()
        wall_told_s, plant_told_s = self._idle_told_s
        is_soon = now_s < wall_told_s + REMIND_WALL_S or plant_s < plant_told_s + REMIND_PLANT_S
        if self._state == "active" or is_soon:
            return
        self._idle_told_s = (now_s, plant_s)
        self._complain(
            Complaint(
                "driver_not_active",
                f"the driver is {self._state}; it obeys only WAIT and READ",
            )
        )

    def _ours(self, transition: str) -> None:
        self._is_ours = True
        try:
            getattr(self, f"trigger_{transition}")()
        finally:
            self._is_ours = False

    def _note_failure(self, why: str) -> None:
        wait_s = BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)]
        self._failures += 1
        self._retry_s = time.monotonic() + wait_s
        if why != self._why:  # once, not with every try
            self.get_logger().error(f"converter: {why}; trying again")
            self._publish_fault(Complaint("converter_unreachable", why))
        self._why = why
        self._say_reading(replace(self.hardware.governor.reading(), stop_detail=why))

    def _drain(self, ends_at_s: float) -> None:
        hardware = self.hardware
        if hardware.is_open and not hardware.governor.is_off and time.monotonic() < ends_at_s:
            return
        self._let_go()
        self.is_ended = True

    # --- orders ----------------------------------------------------------------------------------

    async def _serve(self, request: Any, response: Any) -> Any:
        authenticator, channel = self._setup.authenticator, self._command_name
        order = translate.converter_order(request)
        why = authenticator.why_refused(request, channel, speaker=self._setup.unit_id)
        if why:
            reply = ConverterReply(
                error=ConverterError.REFUSED, message=why, reading=self.hardware.reading
            )
        elif order is None:
            reply = ConverterReply(
                error=ConverterError.OUT_OF_RANGE,
                message=f"operation is {request.operation}, it must be 0 to 4",
                reading=self.hardware.reading,
            )
        elif self._state == "unconfigured":
            reply = ConverterReply(error=ConverterError.TIMEOUT, message=self._why)
        else:
            future: Future[Any] = Future()

            def done(answered: ThreadFuture[ConverterReply]) -> None:
                self._finished.append((future, answered.result()))
                self._waker.trigger()

            self.hardware.handle(order).add_done_callback(done)
            reply = cast(ConverterReply, await future)
        if reply.reading is None:
            reply = replace(reply, reading=ConverterReading(stamp_ns=self._stamp_ns()))
        translate.fill_reply(response, reply, self._setup.unit_id)
        return authenticator.sign(response, channel, request)

    def _hear_claim(self, message: GridMasterClaim) -> None:
        """Take note of whose orders count; the unit itself decides apart from this."""
        authenticator, claim = self._setup.authenticator, translate.claim(message)
        if claim is not None and not authenticator.why_refused(message, self._claims):
            self.hardware.governor.hear_claim(*claim)

    def _answer(self) -> None:
        """In the executor's thread: what the converter's thread has finished."""
        while self._finished:
            future, reply = self._finished.popleft()
            future.set_result(reply)

    # --- what is published -----------------------------------------------------------------------

    def _plant_s(self) -> float:
        return self.get_clock().now().nanoseconds * 1e-9

    def _stamp_ns(self) -> int:
        """Later than that of any reading before, since a simulated clock goes in steps."""
        with self._stamp_lock:
            self._newest_ns = max(self.get_clock().now().nanoseconds, self._newest_ns + 1)
            return self._newest_ns

    def _publish_reading(self, reading: ConverterReading) -> None:
        mode, when_s = self._published
        now_s = time.monotonic()
        if reading.mode is mode and now_s < when_s + PUBLISH_S:
            return
        if reading.mode is not mode and (why := protective_stop(reading)):
            self.get_logger().warning(f"stops its converter: {why}")
        self._published = (reading.mode, now_s)
        self._say_reading(reading)

    def _say_reading(self, reading: ConverterReading) -> None:
        message = translate.converter_state(self._setup.unit_id, reading)
        self._readings.publish(self._setup.authenticator.sign(message, self._readings.topic_name))

    def _publish_battery(self, status: BatteryStatus | None) -> None:
        if self._batteries is None:
            return
        stamp_ns = self.get_clock().now().nanoseconds
        message = translate.battery_state(self._setup.unit_id, status, stamp_ns)
        self._batteries.publish(message)

    def _complain(self, complaint: Complaint) -> None:
        text = f"{complaint.code}: {complaint.message}"
        if complaint == self._last_complaint:
            pass  # one that lasts is told again, but not to people
        elif complaint.level is FaultLevel.WARN:
            self.get_logger().warning(text)
        else:
            self.get_logger().error(text)
        self._last_complaint = complaint
        self._publish_fault(complaint)

    def _publish_fault(self, complaint: Complaint) -> None:
        deal_id, now_ns = self.hardware.governor.deal_id, self.get_clock().now().nanoseconds
        fault = translate.fault(self._setup.unit_id, complaint, deal_id, now_ns)
        self._faults.publish(self._setup.authenticator.sign(fault, self._faults.topic_name))

    def _diagnose(self) -> None:
        if complaint := self._setup.authenticator.complaint():
            self.get_logger().warning(complaint)
        message = DiagnosticArray(status=[self._converter_diagnosis()])
        if self._setup.battery is not None:
            message.status.append(self._battery_diagnosis())
        message.header.stamp = self.get_clock().now().to_msg()
        # only of a device that is regulated in this process
        timing: LoopTiming | None = getattr(self._setup.dcdc, "loop_timing", None)
        if timing is not None:
            message.status.append(self._loop_diagnosis(timing))
        self._diagnostics.publish(message)

    def _loop_diagnosis(self, timing: LoopTiming) -> DiagnosticStatus:
        """How well the control loop keeps its time."""
        missed, self._missed = timing.misses - self._missed, timing.misses
        level, text = DiagnosticStatus.OK, "keeps its time"
        if missed > 0:
            level, text = DiagnosticStatus.WARN, f"{missed} ticks missed since the last report"
        due = timing.ticks + timing.misses
        values = {
            "rate_hz": f"{self._setup.dcdc.rate_hz:g}",  # type: ignore[attr-defined]
            "ticks": str(timing.ticks),
            "misses": str(timing.misses),
            "miss_ratio": f"{timing.misses / max(due, 1):.3g}",
            "jitter_p50_us": f"{timing.jitter_p50_us:.0f}",
            "jitter_p99_us": f"{timing.jitter_p99_us:.0f}",
            "jitter_p999_us": f"{timing.jitter_p999_us:.0f}",
            "jitter_max_us": f"{timing.jitter_max_us:.0f}",
            "realtime_priority": "yes" if timing.is_realtime else "no",
        }
        return self._diagnosis("control loop", level, text, values)

    def _converter_diagnosis(self) -> DiagnosticStatus:
        hardware, governor = self.hardware, self.hardware.governor
        status, level, text = governor.status, DiagnosticStatus.OK, self._state
        if self._state == "unconfigured":
            level, text = DiagnosticStatus.ERROR, f"not connected: {self._why}"
        elif hardware.settings_timing.late or hardware.status_timing.late:
            level, text = DiagnosticStatus.WARN, f"{self._state}; slower than its budget at times"
        elif self._setup.authenticator.is_alarmed:
            level, text = (
                DiagnosticStatus.WARN,
                f"refused: {self._setup.authenticator.last_refusal}",
            )
        values = {
            "address": self._setup.dcdc.address,
            "words_refused": str(self._setup.authenticator.refused.total()),
            "state": self._state,
            "mode": f"{status.mode.name} {status.mode_code}".strip(),
            "alarm": f"{status.alarm.name} {status.alarm_text}".strip(),
            "dead_man": "yes" if self._setup.dcdc.dead_man is not None else "no",
            "retry_s": f"{max(self._retry_s - time.monotonic(), 0.0):.1f}",
            **_timing_values("settings", hardware.settings_timing),
            **_timing_values("status", hardware.status_timing),
            **{f"line.{name}": str(count) for name, count in hardware.counters.items()},
        }
        return self._diagnosis("converter", level, text, values)

    def _battery_diagnosis(self) -> DiagnosticStatus:
        hardware, battery = self.hardware, self._setup.battery
        assert battery is not None
        permit = hardware.governor.permit
        level, text = DiagnosticStatus.OK, "permits " + (permit.name if permit else "NONE")
        if hardware.battery_failure:
            level, text = DiagnosticStatus.ERROR, f"no answer: {hardware.battery_failure}"
        values = {
            "address": battery.address,
            **{f"line.{name}": str(count) for name, count in battery.counters.items()},
        }
        return self._diagnosis("battery", level, text, values)

    def _diagnosis(
        self, part: str, level: bytes, text: str, values: dict[str, str]
    ) -> DiagnosticStatus:
        unit_id = self._setup.unit_id
        return DiagnosticStatus(
            level=level,
            name=f"{unit_id.lower()} driver: {part}",
            message=text,
            hardware_id=f"{unit_id} {part}",
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )


def _timing_values(name: str, timing: Timing) -> dict[str, str]:
    return {
        f"{name}_budget_s": f"{timing.budget_s:g}",
        f"{name}_median_s": f"{timing.median_s:.3f}",
        f"{name}_worst_s": f"{timing.worst_s:.3f}",
        f"{name}_late": f"{timing.late} of {timing.count}",
    }
