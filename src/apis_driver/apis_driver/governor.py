"""Guards one real converter: who may order it, for how long, in which order settings change.

It obeys the same contract as the emulator's driver (``ConverterCommand.srv``): terms, hold times,
energy limits, an orderly end. It owns the device and is called by one thread only; everything that
waits has a deadline. When in doubt, it says WAIT:

* An order that fails in the middle is not left in the middle.
* A mode that nobody ordered, or that is none of ours, is not left on.
* A reading outside the limits of the hwConfig stops the converter at once.
* A battery that withdraws its permission, or falls silent, gets its stop in time.
* An order that is not renewed ends, here, and below Python where the port allows it.

Here is what must happen by itself. What a converter is known to do stands in ``converter``, how
it is stopped in ``stopping``, what becomes of an order in ``orders``.
"""

from __future__ import annotations

import math
from collections import deque

from apis_core.config.hardware import Hardware
from apis_core.converter.driver_contract import FROM_NOBODY, Complaint, Refused, is_wait
from apis_core.converter.limits import static_violation
from apis_core.model.messages import (
    ClaimKind,
    ConverterOperation,
    ConverterOrder,
    ConverterReading,
    ConverterReply,
)
from apis_core.model.types import Alarm, ConverterError, ConverterMode, FaultLevel, StopCause
from apis_driver.converter import Converter
from apis_driver.device import DcdcDevice, DcdcSetpoints, DcdcStatus, SharingPermit
from apis_driver.errors import (
    DeadManFired,
    DeviceError,
    DeviceRefused,
    OutOfRange,
    ReadBackMismatch,
)
from apis_driver.orders import Orders
from apis_driver.rules import GovernorSettings, Times
from apis_driver.stopping import Stopper

__all__ = ["Governor"]

_READ_LIMIT_S = 0.5
_LANDING_S = 0.12  # a stop as near as this is waited for, whatever else is to be done ...
_LANDING_POLLS = 1.5  # ... or nearer than the slowest of the last readings took, and half of it
_CLOCK_STEP_S = 0.1  # for a clock of the plant's that goes in steps
_LEAST_PAUSE_S = 0.002


class Governor:
    """One converter behind one set of rules.

    Args:
        device: Not yet open.
        settings: See there.
        hardware: Limits of the unit's hwConfig; None = only the device's own.
        times: Its clocks.

    Attributes:
        permit: What the battery allows; None = no battery of this driver's.
        held: The order by which it is on, and until when.
    """

    def __init__(
        self,
        device: DcdcDevice,
        settings: GovernorSettings,
        hardware: Hardware | None = None,
        times: Times | None = None,
    ) -> None:
        self._device = device
        self._settings = settings
        self._hardware = hardware
        self._times = times = times or Times()
        self._converter = Converter(device, settings, times)
        self._stopper = Stopper(self._converter, settings, times)
        self._orders = Orders(self._converter, self._stopper, settings, hardware, times)
        self.held = self._orders.held
        self._denied_s: float | None = None
        self._is_ending = False
        self._poll_times_s: deque[float] = deque([0.0], maxlen=10)
        self.permit: SharingPermit | None = None

    # --- what others see -------------------------------------------------------------------------

    @property
    def is_off(self) -> bool:
        """Whether the converter is known to be in WAIT."""
        return self._converter.mode is ConverterMode.WAIT and not self._stopper.is_under_way

    @property
    def lost(self) -> str:
        """Why the device must be opened again; empty = it need not."""
        return self._converter.lost

    @property
    def least_voltage_v(self) -> float:
        """The voltage from which on a bus counts as up. [V]"""
        return self._device.rating.grid_voltage_min_v

    @property
    def status(self) -> DcdcStatus:
        """The last reading, as the device says it."""
        return self._converter.status

    @property
    def setpoints(self) -> DcdcSetpoints:
        """What it was last seen to hold as told."""
        return self._converter.setpoints

    @property
    def age_s(self) -> float:
        """Age of the last reading; inf = there is none. [s]"""
        return self._converter.age_s

    @property
    def term(self) -> int:
        """The newest term that was obeyed."""
        return self.held.term

    @property
    def deal_id(self) -> str:
        """The deal in whose name it was ordered last."""
        return self.held.deal_id

    @property
    def giver_id(self) -> str:
        """The grid master of the order in force; empty = no order, or it names none."""
        return "" if self.is_off or self.held.is_expired else self.held.giver_id

    @property
    def complaints(self) -> deque[Complaint]:
        """Events that are still to be published; whoever publishes one takes it out."""
        return self._converter.complaints

    @property
    def stop_due_in_s(self) -> float:
        """Until the stop at the energy limit is ordered; inf = none is in sight. [s]"""
        return math.inf if self._stopper.is_under_way else self._converter.stop_due_in_s

    def hear_claim(self, kind: ClaimKind, term: int) -> None:
        """Somebody claims a term. May be called by another thread."""
        self.held.led.hear(kind, term)

    def reading(self) -> ConverterReading:
        """Return what is known of the converter now."""
        is_on = self._converter.mode.is_active
        reading = ConverterReading(
            stamp_ns=self._times.stamp_ns(),
            stop_cause=self._stopper.cause,
            stop_detail=self._stopper.detail,
            term=self.held.term,
            deal_id=self.held.deal_id,
            hold_remaining_s=self.held.remaining_s(self._times.now_s()) if is_on else 0.0,
        )
        return self._converter.fill(reading)

    # --- what the driver asks --------------------------------------------------------------------

    def start(self, deadline_s: float) -> None:
        """Open the device, with WAIT as the first word, and read it.

        Raises:
            DeviceError: It cannot be driven; nothing is open.
        """
        converter = self._converter
        was_on = converter.ordered is not ConverterMode.WAIT
        try:
            self._device.open(deadline_s)
            converter.counter.interrupt()
            self._stopper.note_opened(converter.lost if was_on else None)
            converter.lost, converter.ordered = "", ConverterMode.WAIT
            self._stopper.look(deadline_s)
        except DeviceError:
            self._device.close()
            raise

    def close(self) -> None:
        """Let the device go."""
        self._device.close()

    def handle(self, order: ConverterOrder, deadline_s: float) -> ConverterReply:
        """Obey or refuse an order; the reply has the reading after it."""
        error, message = ConverterError.NONE, ""
        is_renewal = order.operation is ConverterOperation.HOLD
        if why := self.held.led.why_not(order):
            self.complaints.append(Complaint(FROM_NOBODY, why, FaultLevel.WARN))
        try:
            if self.lost:
                raise Refused(ConverterError.TIMEOUT, self.lost)
            self._watch_below()
            if not is_renewal:
                self.land()
            if self._is_ending and not _is_harmless(order):
                raise Refused(
                    ConverterError.REFUSED, "the driver is ending; only WAIT and READ are obeyed"
                )
            self._orders.obey(order, self.permit, deadline_s)
            if is_renewal:  # it may have moved the limit
                self.land()
        except Refused as refused:
            error, message = refused.error, str(refused)
        except OutOfRange as refused:
            error, message = ConverterError.OUT_OF_RANGE, str(refused)
        except (DeviceRefused, ReadBackMismatch, DeadManFired) as refused:
            error, message = ConverterError.REFUSED, str(refused)
        except DeviceError as silence:
            error, message = ConverterError.TIMEOUT, str(silence)
            self._converter.note_failure(silence)
        return ConverterReply(error=error, message=message, reading=self.reading())

    def poll(self) -> None:
        """Read, count, and see to everything that must happen by itself.

        No answer is waited for beyond the moment at which a stop is due.
        """
        begun_s = self._times.now_s()
        if self._stopper.is_unsaid:
            self._stopper.say_wait()
        due_s = self.stop_due_in_s
        limit_s = min(due_s, _READ_LIMIT_S) if due_s > 0.0 else _READ_LIMIT_S
        try:
            self._stopper.look(begun_s + limit_s)
            if due_s > 2.0 * _READ_LIMIT_S:
                wrong = self._converter.check_setpoints(self._times.now_s() + _READ_LIMIT_S)
                if wrong:
                    self._lose_setpoints(wrong)
        except DeviceError as failure:
            self._converter.note_failure(failure)
        self._poll_times_s.append(self._times.now_s() - begun_s)
        self._watch()

    def land(self) -> None:
        """Wait for a stop at the energy limit that is due soon, and order it."""
        times, converter, counter = self._times, self._converter, self._converter.counter
        window_s = max(_LANDING_S, _LANDING_POLLS * max(self._poll_times_s))
        until_s = times.now_s() + window_s + _CLOCK_STEP_S
        while (due_s := self.stop_due_in_s) > 0.0:
            if due_s > window_s or times.now_s() > until_s:
                return
            if times.pause(max(due_s, _LEAST_PAUSE_S)):
                return
        if counter.next_current_a > 0.0:
            next_a = counter.next_current_a
            counter.set_limit(None, 0.0)
            try:
                converter.set_current(next_a, times.now_s() + _READ_LIMIT_S)
                return
            except DeviceError as failure:
                converter.note_failure(failure)
        self._stopper.stop(StopCause.ENERGY_REACHED, "the agreed energy has moved")

    def end(self) -> None:
        """Begin to end: to WAIT; from now on only WAIT and READ are obeyed."""
        self._is_ending = True
        self.held.deadline_s = min(self.held.deadline_s, self._times.now_s())
        self._watch()

    def force_wait(self) -> None:
        """Say WAIT now, whatever was going on; the last word at the end."""
        self._stopper.stop(StopCause.NONE, "")

    # --- what must happen by itself --------------------------------------------------------------

    def _watch(self) -> None:
        self._watch_below()
        if self._stopper.is_under_way:
            self._stopper.see_that_it_stops()
            return
        now_s, mode, ordered = self._times.now_s(), self._converter.mode, self._converter.ordered
        self._watch_permit(now_s)
        if not mode.is_active or self._stopper.is_under_way:
            return
        self._stopper.follow_current_below(self.held.remaining_s(now_s))
        if ordered is ConverterMode.WAIT or mode is not ordered:
            code = self._converter.status.mode_code
            why = f"it is in {mode.name} ({code}), ordered is {ordered.name}"
            self._trip("converter_mode_not_ordered", why)
        elif (violation := self._violation()) is not None:
            self._trip(*violation)
        elif now_s >= self.held.deadline_s:
            self._expire(now_s)

    def _watch_below(self) -> None:
        """The dead man below Python may have said WAIT."""
        if not self._stopper.is_under_way and self._stopper.has_fired_below():
            self.held.is_expired = True
            self._stopper.stop(StopCause.HOLD_EXPIRED, self.held.expiry)

    def _expire(self, now_s: float) -> None:
        """Nobody has renewed the order. A voltage lets the currents go first."""
        self.held.is_expired = True
        carries = self._converter.carries_current
        is_reference = self._converter.mode is ConverterMode.VOLTAGE_REFERENCE
        grace_s = self._settings.reference_grace_s
        if is_reference and carries and now_s < self.held.deadline_s + grace_s:
            return
        if self._is_ending:
            self._stopper.stop(StopCause.NONE, "")
        else:
            self._stopper.stop(StopCause.HOLD_EXPIRED, self.held.expiry)

    def _violation(self) -> tuple[str, str] | None:
        if self._hardware is not None:
            return static_violation(self.reading(), self._hardware)
        if self._converter.status.alarm is Alarm.HEAVY:
            return "converter_heavy_alarm", "the converter reports a heavy alarm"
        return None

    def _watch_permit(self, now_s: float) -> None:
        mode, grace_s = self._converter.mode, self._settings.permit_grace_s
        if self.permit is None or self.permit.allows(mode):
            self._denied_s = None
            return
        if self._denied_s is None:
            self._denied_s = now_s
            self._converter.complain(
                "battery_denies_sharing",
                f"the battery's permission is {self.permit.name}; the converter is in {mode.name} "
                f"and goes to WAIT in {grace_s:g} s at the latest",
            )
        if now_s >= self._denied_s + grace_s:
            self._stopper.stop(StopCause.TRIP, "the battery has withdrawn its permission")

    def _lose_setpoints(self, why: str) -> None:
        """It must be opened again, so that it holds everything."""
        if self._converter.mode.is_active:
            self._trip("converter_setpoints_lost", why)
        else:
            self._converter.complain("converter_setpoints_lost", why)
        self._converter.lost = why

    def _trip(self, code: str, why: str) -> None:
        self._converter.complain(code, why)
        self._stopper.stop(StopCause.TRIP, why)


def _is_harmless(order: ConverterOrder) -> bool:
    """Whether it switches nothing on, and keeps nothing on."""
    return order.operation is ConverterOperation.READ or is_wait(order)
