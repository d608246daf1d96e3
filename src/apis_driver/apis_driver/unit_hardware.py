"""The hardware of one unit with its threads: what the node (and the HTTP server) talk to.

The converter's thread owns the governor and its device, the battery's thread the battery. Both
only ever talk to the outside by the callbacks given here, and by futures.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from apis_core.config.hardware import Hardware
from apis_core.converter.driver_contract import Complaint
from apis_core.model.errors import DeviceError
from apis_core.model.messages import (
    ConverterOperation,
    ConverterOrder,
    ConverterReading,
    ConverterReply,
)
from apis_core.model.types import ConverterError, ConverterMode
from apis_driver.device import BatteryDevice, BatteryStatus, DcdcDevice, SharingPermit
from apis_driver.errors import PortError
from apis_driver.governor import Governor
from apis_driver.rules import GovernorSettings, Times
from apis_driver.worker import Priority, Worker

__all__ = ["Timing", "UnitHardware"]

ORDER_LIMIT_S = 1.5  # the unit gives a driver 2 s
OPEN_LIMIT_S = 3.0
_STOP_LIMIT_S = 1.5
_ACTIVE_PERIOD_S = 0.04  # while it is on; a slow line is read as fast as it allows
_OFF_REST_S = 0.2
_BATTERY_PERIOD_S = 1.0
_BATTERY_LIMIT_S = 1.0
_REMIND_S = 10.0
_BATTERY_BACKOFF_S = (1.0, 2.0, 5.0, 10.0, 30.0)


@dataclass(slots=True)
class Timing:
    """How long something takes, against what it may take.

    Attributes:
        budget_s: What the original's documents allow. [s]
        last_s: Of the last time. [s]
        worst_s: Since the start. [s]
        count: How often it was done.
        late: How often it took longer than its budget.
    """

    budget_s: float
    last_s: float = 0.0
    worst_s: float = 0.0
    count: int = 0
    late: int = 0
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=200))

    def note(self, duration_s: float) -> None:
        """Count one more call and its duration. [s]"""
        self.last_s = duration_s
        self.worst_s = max(self.worst_s, duration_s)
        self.count += 1
        self.late += duration_s > self.budget_s
        self._recent.append(duration_s)

    @property
    def median_s(self) -> float:
        """Of the last two hundred times. [s]"""
        recent = sorted(self._recent)
        return recent[len(recent) // 2] if recent else 0.0


class UnitHardware:
    """Converter and battery of one unit.

    Args:
        dcdc: Not yet open.
        battery: None = the unit's battery is read by somebody else.
        rules: Of the governor.
        limits: Of the unit's hwConfig.
        on_reading: Called from the converter's thread with every new reading.
        on_battery: Called from the battery's thread; None = it says nothing.
        on_complaint: Called from either thread.
        times: Clocks of the converter.

    Attributes:
        is_active: Whether orders are obeyed; stopping and reading always are.
        reading: The newest of the converter.
        settings_timing, status_timing: Of orders that set something, and of readings.
    """

    def __init__(
        self,
        dcdc: DcdcDevice,
        battery: BatteryDevice | None,
        rules: GovernorSettings,
        limits: Hardware | None,
        *,
        on_reading: Callable[[ConverterReading], None] = lambda _reading: None,
        on_battery: Callable[[BatteryStatus | None], None] = lambda _status: None,
        on_complaint: Callable[[Complaint], None] = lambda _complaint: None,
        times: Times | None = None,
    ) -> None:
        self.dcdc, self.battery = dcdc, battery
        self.is_active = False
        self.settings_timing, self.status_timing = Timing(0.6), Timing(0.5)
        self.battery_status: BatteryStatus | None = None
        self.battery_failure = ""
        self._rules = rules
        self._on_reading, self._on_battery = on_reading, on_battery
        self._on_complaint = on_complaint
        self._worker = Worker("converter", self._attend)
        self._battery_worker = Worker("battery", self._attend_battery)
        times = replace(times or Times(), pause=self._worker.pause)
        self.governor = Governor(dcdc, rules, limits, times)
        self.reading = self.governor.reading()
        if battery is not None:
            self.governor.permit = SharingPermit.NONE  # until it has spoken
        self._is_open = False
        self._battery_is_open = False
        self._battery_heard_s = time.monotonic()
        self._battery_failures = 0
        self._remind_s = 0.0

    def start(self) -> None:
        """Start the threads; nothing is opened by that."""
        self._worker.start()
        if self.battery is not None:
            self._battery_worker.start()

    def open(self) -> Future[None]:
        """Open the converter, WAIT being the first word."""

        def job() -> None:
            self._close()
            self.governor.start(time.monotonic() + OPEN_LIMIT_S)
            self._tell()
            self._is_open = True

        return self._worker.submit(Priority.ORDER, job, time.monotonic() + OPEN_LIMIT_S)

    def close(self) -> Future[None]:
        """Say WAIT if that is possible, and let the port go."""

        def job() -> None:
            if self._is_open and not self.governor.lost:
                self.governor.force_wait()
            self._close()

        return self._worker.submit(Priority.STOP, job, time.monotonic() + 2 * OPEN_LIMIT_S)

    def handle(self, order: ConverterOrder) -> Future[ConverterReply]:
        """Obey or refuse; the future never fails."""
        is_wait = order.operation is ConverterOperation.MODE and order.mode is ConverterMode.WAIT
        is_read = order.operation is ConverterOperation.READ
        if not self._is_open:
            return _said(ConverterError.TIMEOUT, "the converter is not connected")
        if not (self.is_active or is_wait or is_read):
            return _said(
                ConverterError.REFUSED,
                "the driver is not active; only WAIT and READ are obeyed",
                self.reading,
            )
        priority = Priority.STOP if is_wait else Priority.READ if is_read else Priority.ORDER
        deadline_s = time.monotonic() + ORDER_LIMIT_S
        done: Future[ConverterReply] = Future()

        def job() -> ConverterReply:
            begun_s = time.monotonic()
            reply = self.governor.handle(order, deadline_s)
            if reply.error is ConverterError.NONE:
                timing = self.status_timing if is_read else self.settings_timing
                timing.note(time.monotonic() - begun_s)
            self._tell()
            return replace(reply, reading=self.reading)  # as published: neither is the older one

        def finish(future: Future[ConverterReply]) -> None:
            error = future.exception()
            if error is None:
                done.set_result(future.result())
            else:
                message = str(error) or type(error).__name__
                done.set_result(
                    ConverterReply(
                        error=ConverterError.TIMEOUT, message=message, reading=self.reading
                    )
                )

        self._worker.submit(priority, job, deadline_s).add_done_callback(finish)
        return done

    def stop(self) -> Future[None]:
        """Begin to take the converter to WAIT in order, a voltage last."""
        deadline_s = time.monotonic() + _STOP_LIMIT_S
        return self._worker.submit(Priority.STOP, self.governor.end, deadline_s)

    def end(self) -> None:
        """End the threads."""
        self._worker.end(OPEN_LIMIT_S)
        self._battery_worker.end(_BATTERY_LIMIT_S)
        self._close()
        self._close_battery()

    @property
    def is_open(self) -> bool:
        """Whether there is a converter at the other end."""
        return self._is_open and not self.governor.lost

    @property
    def failure(self) -> Exception | None:
        """A bug of ours that has ended one of the threads."""
        return self._worker.failure or self._battery_worker.failure

    @property
    def counters(self) -> Mapping[str, int]:
        """What happened on the converter's line."""
        return dict(self.dcdc.counters)

    # --- the converter's thread ------------------------------------------------------------------

    def _attend(self) -> float:
        """Look after the converter; returns for how long it needs no looking after. [s]"""
        if not self._is_open or self.governor.lost:
            return _OFF_REST_S
        begun_s = time.monotonic()
        self.governor.poll()
        if not self.governor.lost:
            self.status_timing.note(time.monotonic() - begun_s)
        self.governor.land()
        self._tell()
        rest_s = begun_s + _ACTIVE_PERIOD_S - time.monotonic()
        return _OFF_REST_S if self.governor.is_off else max(rest_s, 0.0)

    def _tell(self) -> None:
        complaints = self.governor.complaints
        while complaints:
            self._on_complaint(complaints.popleft())
        self.reading = self.governor.reading()
        self._on_reading(self.reading)

    def _close(self) -> None:
        self._is_open = False
        self.governor.close()

    # --- the battery's thread --------------------------------------------------------------------

    def _attend_battery(self) -> float:
        assert self.battery is not None
        try:
            deadline_s = time.monotonic() + _BATTERY_LIMIT_S
            if not self._battery_is_open:
                self.battery.open(deadline_s)
                self._battery_is_open = True
            status = self.battery.read(time.monotonic() + _BATTERY_LIMIT_S)
        except DeviceError as failure:
            return self._miss_battery(failure)
        if self.battery_failure:
            self.battery_failure = ""
        self._battery_failures = 0
        self._battery_heard_s = time.monotonic()
        self.battery_status, self.governor.permit = status, status.permit
        if status.permit is not SharingPermit.BOTH:
            self._remind("battery_denies_sharing", f"its permission is {status.permit.name}")
        self._on_battery(status)
        return _BATTERY_PERIOD_S

    def _miss_battery(self, failure: DeviceError) -> float:
        """A battery that is silent for long has withdrawn its permission."""
        silent_s = time.monotonic() - self._battery_heard_s
        self.battery_failure = str(failure)
        if isinstance(failure, PortError):
            self._close_battery()  # and open it again
        if silent_s >= self._rules.battery_lost_s:
            self.battery_status = None
            self.governor.permit = SharingPermit.NONE
            self._remind("battery_unreachable", str(failure))
            self._on_battery(None)
            self._close_battery()
        self._battery_failures += 1
        if self._battery_is_open:
            return _BATTERY_PERIOD_S
        return _BATTERY_BACKOFF_S[min(self._battery_failures, len(_BATTERY_BACKOFF_S)) - 1]

    def _remind(self, code: str, message: str) -> None:
        """Say what lasts again and again: a unit forgets a fault that is not seen any more."""
        now_s = time.monotonic()
        if now_s >= self._remind_s:
            self._remind_s = now_s + _REMIND_S
            self._on_complaint(Complaint(code, message))

    def _close_battery(self) -> None:
        self._battery_is_open = False
        if self.battery is not None:
            self.battery.close()


def _said(
    error: ConverterError, message: str, reading: ConverterReading | None = None
) -> Future[ConverterReply]:
    future: Future[ConverterReply] = Future()
    future.set_result(ConverterReply(error=error, message=message, reading=reading))
    return future
