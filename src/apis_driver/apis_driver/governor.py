"""Guards one real converter: who may order it, for how long, in which order settings change.

It obeys the same contract as the emulator's driver (``ConverterCommand.srv``): terms, hold times,
energy limits, an orderly end. It owns the device and is called by one thread only; everything that
waits has a deadline. When in doubt, it says WAIT:

* An order that fails in the middle is not left in the middle.
* A mode that nobody ordered, or that is none of ours, is not left on.
* A reading outside the limits of the hwConfig stops the converter at once.
* A battery that withdraws its permission, or falls silent, gets its stop in time.
* An order that is not renewed ends, here, and below Python where the port allows it.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from pydantic import Field

from apis_core.hardware import Hardware
from apis_core.messages import (
    ConverterOperation,
    ConverterOrder,
    ConverterReading,
    ConverterReply,
)
from apis_core.safety import static_violation
from apis_core.types import Alarm, ConverterError, ConverterMode, StopCause
from apis_driver.counting import EnergyCounter
from apis_driver.device import (
    DcdcDevice,
    DcdcSetpoints,
    DcdcStatus,
    DeviceSettings,
    SharingPermit,
)
from apis_driver.errors import (
    BadFrame,
    DeadManFired,
    DeviceError,
    DeviceRefused,
    DeviceTimeout,
    OutOfRange,
    PortError,
    ReadBackMismatch,
)
from apis_driver.sequence import Step, steps_between

__all__ = ["Complaint", "Governor", "GovernorSettings"]

ENERGISED_BUS_V = 320.0  # a bus above this has another source on it, as in the original
_NO_CURRENT_A = 0.125  # a reference that carries less may be switched off
_READ_LIMIT_S = 0.5
_STOP_LIMIT_S = 1.0
_CONFIRM_EVERY_S = 0.02
_STALE_READING_S = 0.2  # a younger one need not be read again for a renewal
_RECENT_S = 0.5
_LANDING_S = 0.12  # a stop as near as this is waited for, whatever else is to be done ...
_LANDING_POLLS = 1.5  # ... or nearer than the slowest of the last readings took, and half of it
_CLOCK_STEP_S = 0.1  # for a clock of the plant's that goes in steps
_LEAST_PAUSE_S = 0.002
_SAME_RATIO = 0.01


class GovernorSettings(DeviceSettings):
    """What does not depend on the make of a converter.

    Attributes:
        nominal_voltage_v: Set point of the voltage in WAIT and while charging, if the order says
            none. [V]
        discharge_ceiling_v: The same while discharging. [V]
        reference_grace_s: For how long a voltage reference that must go lets the currents go
            first. [s]
        permit_grace_s: From the withdrawal of the battery's permission to the stop. The unit
            winds its deals down meanwhile; batteries must bear 100 s. [s]
        battery_lost_s: A battery silent for so long has withdrawn its permission. [s]
        lost_s: A converter that has said nothing sensible for so long is lost. [s]
        guard_margin_s: By how much the dead man below Python lets ours go first. [s]
        wait_limit_s: By when it must be in WAIT after the order. [s]
        check_setpoints_s: How often its set points are read, to notice a power cycle. [s]
        stop_slew_a_per_s: How fast its current runs down, until that has been learnt. [A/s]
        order_delay_s: How long an order of WAIT takes to be obeyed. [s]
    """

    nominal_voltage_v: float = Field(default=350.0, gt=0)
    discharge_ceiling_v: float = Field(default=380.0, gt=0)
    reference_grace_s: float = Field(default=2.0, ge=0, le=60)
    permit_grace_s: float = Field(default=60.0, ge=0, le=90)
    battery_lost_s: float = Field(default=10.0, gt=0, le=90)
    lost_s: float = Field(default=2.0, gt=0, le=60)
    guard_margin_s: float = Field(default=0.3, gt=0, le=10)
    wait_limit_s: float = Field(default=5.0, gt=0, le=60)
    check_setpoints_s: float = Field(default=5.0, gt=0)
    stop_slew_a_per_s: float = Field(default=20.0, gt=0, le=1000)
    order_delay_s: float = Field(default=0.01, ge=0, le=1)


@dataclass(frozen=True, slots=True)
class Complaint:
    """Something that people and the unit should know; ``code`` is short and stable."""

    code: str
    message: str


class Refused(Exception):
    """An order is not carried out. Never leaves this module: :meth:`handle` answers it."""

    def __init__(self, error: ConverterError, message: str) -> None:
        self.error = error
        super().__init__(message)


@dataclass(slots=True)
class _Held:
    """What is remembered of the last order."""

    term: int = 0
    deal_id: str = ""
    hold_s: float = 0.0
    deadline_s: float = math.inf
    is_condemned: bool = False  # its hold has run out: no renewal helps any more


@dataclass(slots=True)
class _Stopping:
    """A stop that is on its way."""

    cause: StopCause
    detail: str
    since_s: float
    is_said: bool = False  # the device has taken the order
    is_complained: bool = False


class Governor:
    """One converter behind one set of rules.

    Args:
        device: Not yet open.
        settings: See there.
        hardware: Limits of the unit's hwConfig; None = only the device's own.
        clock_s: Steady. [s]
        plant_s: The time in which energy flows: the same, or a simulated one. [s]
        plant_rate: How fast that goes.
        pause: Waits so long, or until something urgent is to be done; true = there is.
        stamp_ns: Of a reading that is being made. Not of one that is being sent: a reply may be
            held up, and newer readings overtake it. [ns]

    Attributes:
        permit: What the battery allows; None = no battery of this driver's.
        complaints: What has happened and has not been told yet.
    """

    def __init__(
        self,
        device: DcdcDevice,
        settings: GovernorSettings,
        hardware: Hardware | None = None,
        *,
        clock_s: Callable[[], float] = time.monotonic,
        plant_s: Callable[[], float] | None = None,
        plant_rate: float = 1.0,
        pause: Callable[[float], object] = time.sleep,
        stamp_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._device = device
        self._settings = settings
        self._hardware = hardware
        self._clock_s = clock_s
        self._plant_s = plant_s or clock_s
        self._plant_rate = plant_rate
        self._pause = pause
        self._stamp_ns = stamp_ns
        self._counter = EnergyCounter(settings.stop_slew_a_per_s)
        self._held = _Held()
        self._status = DcdcStatus(mode=ConverterMode.UNKNOWN)
        self._setpoints = DcdcSetpoints()
        self._wanted = DcdcSetpoints()
        self._read_s = self._heard_s = -math.inf
        self._setpoints_s = -math.inf
        self._ordered = ConverterMode.WAIT
        self._stopping: _Stopping | None = None
        self._stop_cause, self._stop_detail = StopCause.NONE, ""
        self._denied_s: float | None = None
        self._is_ending = False
        self._lost = ""
        self._poll_times_s: deque[float] = deque([0.0], maxlen=10)
        self.permit: SharingPermit | None = None
        self.complaints: deque[Complaint] = deque(maxlen=100)

    # --- what others see -------------------------------------------------------------------------

    @property
    def is_off(self) -> bool:
        """Whether the converter is known to be in WAIT."""
        return self._status.mode is ConverterMode.WAIT and self._stopping is None

    @property
    def lost(self) -> str:
        """Why the device must be opened again; empty = it need not."""
        return self._lost

    @property
    def status(self) -> DcdcStatus:
        """The last reading, as the device says it."""
        return self._status

    @property
    def setpoints(self) -> DcdcSetpoints:
        """What it was last seen to hold as told."""
        return self._setpoints

    @property
    def age_s(self) -> float:
        """Age of the last reading; inf = there is none. [s]"""
        return self._clock_s() - self._read_s

    @property
    def term(self) -> int:
        """The newest term that was obeyed."""
        return self._held.term

    @property
    def deal_id(self) -> str:
        """The deal in whose name it was ordered last."""
        return self._held.deal_id

    def reading(self) -> ConverterReading:
        """What is known now. Of a converter that has gone silent nothing is but the counters."""
        charged_wh, discharged_wh = self._counter.grid_wh
        battery_charged_wh, battery_discharged_wh = self._counter.battery_wh
        reading = ConverterReading(
            stamp_ns=self._stamp_ns(),
            stop_cause=self._stop_cause,
            stop_detail=self._stop_detail,
            grid_charged_wh=charged_wh,
            grid_discharged_wh=discharged_wh,
            battery_charged_wh=battery_charged_wh,
            battery_discharged_wh=battery_discharged_wh,
            term=self._held.term,
            deal_id=self._held.deal_id,
        )
        if self._lost or self.age_s > self._settings.lost_s:
            return replace(reading, stop_detail=self._lost or "it does not answer")
        status, is_on = self._status, self._status.mode.is_active
        setpoints = self._setpoints if is_on else _OFF
        return replace(
            reading,
            mode=status.mode,
            alarm=status.alarm,
            grid_voltage_v=status.grid_voltage_v,
            grid_current_a=status.grid_current_a,
            grid_power_w=status.grid_power_w,
            battery_voltage_v=status.battery_voltage_v,
            battery_current_a=status.battery_current_a,
            battery_power_w=status.battery_power_w,
            converter_temp_degc=status.converter_temp_degc,
            grid_voltage_setpoint_v=setpoints.grid_voltage_v,
            grid_current_setpoint_a=setpoints.grid_current_a,
            droop_ratio=setpoints.droop_ratio,
            hold_remaining_s=(
                max(self._held.deadline_s - self._clock_s(), 0.0)
                if is_on and math.isfinite(self._held.deadline_s)
                else 0.0
            ),
        )

    # --- what the driver asks --------------------------------------------------------------------

    def start(self, deadline_s: float) -> None:
        """Open the device, with WAIT as the first word, and read it.

        Raises:
            DeviceError: It cannot be driven; nothing is open.
        """
        was_on = self._ordered is not ConverterMode.WAIT
        try:
            self._device.open(deadline_s)
            self._counter.interrupt()
            cause, detail = self._stop_cause, self._stop_detail
            if was_on:
                cause, detail = StopCause.TRIP, f"it was lost while it was on: {self._lost}"
            self._lost, self._ordered = "", ConverterMode.WAIT
            self._stopping = _Stopping(cause, detail, self._clock_s(), is_said=True)
            self._look(deadline_s)
        except DeviceError:
            self._device.close()
            raise

    def close(self) -> None:
        """Let the device go."""
        self._device.close()

    def handle(self, order: ConverterOrder, deadline_s: float) -> ConverterReply:
        """Obey or refuse an order; the reply has the reading after it."""
        error, message = ConverterError.NONE, ""
        try:
            if self._lost:
                raise Refused(ConverterError.TIMEOUT, self._lost)
            is_hold = order.operation is ConverterOperation.HOLD
            if not is_hold:
                self.land()
            self._obey(order, deadline_s)
            if is_hold:  # it may have moved the limit
                self.land()
        except Refused as refused:
            error, message = refused.error, str(refused)
        except OutOfRange as refused:
            error, message = ConverterError.OUT_OF_RANGE, str(refused)
        except (DeviceRefused, ReadBackMismatch, DeadManFired) as refused:
            error, message = ConverterError.REFUSED, str(refused)
        except DeviceError as silence:
            error, message = ConverterError.TIMEOUT, str(silence)
            self._note_failure(silence)
        return ConverterReply(error=error, message=message, reading=self.reading())

    def poll(self, deadline_s: float | None = None) -> None:
        """Read, count, and see to everything that must happen by itself.

        No answer is waited for beyond the moment at which a stop is due.
        """
        now_s = self._clock_s()
        if self._stopping is not None and not self._stopping.is_said:
            self._say_wait(now_s + _STOP_LIMIT_S)
        due_s = self._stop_due_in_s()
        limit_s = _READ_LIMIT_S if due_s <= 0.0 else min(due_s, _READ_LIMIT_S)
        try:
            self._look(deadline_s or now_s + limit_s)
            is_time = self._clock_s() >= self._setpoints_s + self._settings.check_setpoints_s
            if is_time and due_s > 2.0 * _READ_LIMIT_S:
                self._check_setpoints(now_s + _READ_LIMIT_S)
        except DeviceError as failure:
            self._note_failure(failure)
        self._poll_times_s.append(self._clock_s() - now_s)
        self._watch()

    def land(self) -> None:
        """Wait for a stop at the energy limit that is due soon, and order it."""
        window_s = max(_LANDING_S, _LANDING_POLLS * max(self._poll_times_s))
        until_s = self._clock_s() + window_s + _CLOCK_STEP_S
        while (due_s := self._stop_due_in_s()) > 0.0:
            if due_s > window_s or self._clock_s() > until_s:
                return
            if self._pause(max(due_s, _LEAST_PAUSE_S)):
                return
        counter = self._counter
        if counter.next_current_a > 0.0:
            next_a, counter.next_current_a, counter.limit_wh = counter.next_current_a, 0.0, None
            try:
                self._set_current(next_a, self._clock_s() + _READ_LIMIT_S)
                return
            except DeviceError as failure:
                self._note_failure(failure)
        self._stop(StopCause.ENERGY_REACHED, "the agreed energy has moved")

    def _stop_due_in_s(self) -> float:
        """Until the stop at the energy limit must be ordered; inf = none is in sight. [s]"""
        if self._stopping is not None or not self._status.mode.is_active:
            return math.inf
        delay_s = self._settings.order_delay_s * self._plant_rate
        due_s = self._counter.stop_due_s(self._status.mode, delay_s)
        return (due_s - self._plant_s()) / self._plant_rate

    def end(self) -> None:
        """Begin to end: to WAIT; from now on only WAIT and READ are obeyed."""
        self._is_ending = True
        self._held.deadline_s = min(self._held.deadline_s, self._clock_s())
        self._watch()

    def force_wait(self) -> None:
        """Say WAIT now, whatever was going on; the last word at the end."""
        self._stopping = self._stopping or _Stopping(StopCause.NONE, "", self._clock_s())
        self._say_wait(self._clock_s() + _STOP_LIMIT_S)

    # --- orders ----------------------------------------------------------------------------------

    def _obey(self, order: ConverterOrder, deadline_s: float) -> None:
        if order.operation is ConverterOperation.READ:
            self._look(deadline_s)
            return
        held = self._held
        is_wait = order.operation is ConverterOperation.MODE and order.mode is ConverterMode.WAIT
        if order.term == 0 and not is_wait:
            raise Refused(
                ConverterError.OUT_OF_RANGE,
                "term is 0, it must be the grid master's; 0 is for READ and MODE WAIT",
            )
        if 0 < order.term < held.term:
            raise Refused(
                ConverterError.OLD_TERM,
                f"term is {order.term}, it must be {held.term} or more: that one has been obeyed",
            )
        hold_s = 0.0
        if not is_wait:
            self._must_go_on(order)
            hold_s = _in_range("hold_s", order.hold_s, 0.0, math.inf, "s", above=True)
        self._command(order, hold_s, deadline_s)
        held.term = max(held.term, order.term)
        held.deal_id = order.deal_id
        if not is_wait:
            held.hold_s = hold_s
            held.deadline_s = self._clock_s() + hold_s
            held.is_condemned = False
            self._renew_below(hold_s)
        if order.operation is not ConverterOperation.HOLD or self.age_s > _STALE_READING_S:
            self._look(deadline_s)
        if order.operation is ConverterOperation.MODE and not is_wait:
            self._counter.begin(_energy_limit_wh(order), _next_current_a(order, self._device))

    def _must_go_on(self, order: ConverterOrder) -> None:
        """An order that keeps something on needs somebody who may."""
        if self._is_ending:
            raise Refused(
                ConverterError.REFUSED, "the driver is ending; only WAIT and READ are obeyed"
            )
        if self._held.is_condemned and order.operation is not ConverterOperation.MODE:
            raise Refused(
                ConverterError.WRONG_MODE, "its hold time has run out; it is going to WAIT"
            )

    def _command(self, order: ConverterOrder, hold_s: float, deadline_s: float) -> None:
        match order.operation:
            case ConverterOperation.MODE if order.mode is ConverterMode.WAIT:
                self._stop(StopCause.NONE, "")
                if self._stopping is not None and not self._stopping.is_said:
                    raise DeviceTimeout("WAIT has not been confirmed; it will be said again")
                if self._status.alarm in (Alarm.LIGHT, Alarm.HEAVY):
                    self._device.clear_alarms(deadline_s)
            case ConverterOperation.MODE:
                self._change_mode(order, hold_s, deadline_s)
            case ConverterOperation.CURRENT:
                self._must_run()
                current_a = self._current_a(order, self._status.mode)
                limit_wh = _energy_limit_wh(order)
                next_a = _next_current_a(order, self._device)
                self._set_current(current_a, deadline_s)
                if limit_wh is not None:
                    self._counter.set_limit(limit_wh, next_a)
            case ConverterOperation.VOLTAGE:
                self._must_run()
                if self._status.mode is not ConverterMode.VOLTAGE_REFERENCE:
                    raise Refused(
                        ConverterError.WRONG_MODE,
                        f"mode is {self._status.mode.name}; only a VOLTAGE_REFERENCE obeys this",
                    )
                droop_ratio = self._droop_ratio(order)
                voltage_v = self._setpoints.grid_voltage_v
                if order.grid_voltage_v is not None or voltage_v is None:
                    voltage_v = self._voltage_v(order)
                self._set_voltage(voltage_v, droop_ratio, deadline_s)
            case ConverterOperation.HOLD:
                self._must_run()
                limit_wh = _energy_limit_wh(order)
                if limit_wh is not None:
                    next_a = _next_current_a(order, self._device)
                    self._counter.set_limit(limit_wh, next_a)

    def _change_mode(self, order: ConverterOrder, hold_s: float, deadline_s: float) -> None:
        mode = order.mode
        if mode is ConverterMode.UNKNOWN:
            raise Refused(
                ConverterError.OUT_OF_RANGE,
                "mode is UNKNOWN, it must be WAIT, VOLTAGE_REFERENCE, DISCHARGE or CHARGE",
            )
        current_a = self._current_a(order, mode)
        _energy_limit_wh(order), _next_current_a(order, self._device)  # refused before any step
        droop_ratio = 0.0
        if mode is ConverterMode.VOLTAGE_REFERENCE:
            voltage_v, droop_ratio = self._voltage_v(order), self._droop_ratio(order)
        elif order.grid_voltage_v is not None:
            voltage_v = self._voltage_v(order)
        elif mode is ConverterMode.DISCHARGE:
            voltage_v = self._settings.discharge_ceiling_v
        else:
            voltage_v = self._settings.nominal_voltage_v
        self._look(deadline_s)  # by what it does now, not by what we remember
        status = self._status
        self._must_be_permitted(mode)
        self._must_fit_the_bus(mode, status, droop_ratio)
        if self._stopping is not None:
            raise Refused(ConverterError.WRONG_MODE, "it is on its way to WAIT; ask again")
        steps = steps_between(status.mode, mode)
        if steps is None:
            raise Refused(
                ConverterError.WRONG_MODE,
                f"from {status.mode.name} to {mode.name} it must go through WAIT",
            )
        if status.alarm in (Alarm.LIGHT, Alarm.HEAVY):
            self._device.clear_alarms(deadline_s)
        self._renew_below(hold_s)
        self._ordered = mode
        self._stop_cause, self._stop_detail = StopCause.NONE, ""
        try:
            for step in steps:
                match step:
                    case Step.VOLTAGE:
                        self._set_voltage(voltage_v, droop_ratio, deadline_s)
                    case Step.CURRENT:
                        self._set_current(current_a, deadline_s)
                    case Step.MODE:
                        self._device.set_mode(mode, deadline_s)
                        self._confirm(mode, deadline_s)
        except DeviceError as failure:
            self._stop(StopCause.TRIP, f"an order failed in the middle: {failure}")
            raise

    def _confirm(self, mode: ConverterMode, deadline_s: float) -> None:
        """See by its own word that it is in a mode."""
        while True:
            self._read(deadline_s)
            if self._status.mode is mode:
                return
            if self._clock_s() + _CONFIRM_EVERY_S >= deadline_s:
                raise ReadBackMismatch(
                    f"{self._device.address}: it is in {self._status.mode.name} "
                    f"({self._status.mode_code}), it was ordered to {mode.name}"
                )
            self._pause(_CONFIRM_EVERY_S)

    def _must_run(self) -> None:
        if not self._status.mode.is_active or self._stopping is not None:
            state = "on its way to WAIT" if self._stopping is not None else "WAIT"
            raise Refused(
                ConverterError.WRONG_MODE, f"mode is {state}; only an active converter obeys this"
            )

    def _must_be_permitted(self, mode: ConverterMode) -> None:
        if self.permit is not None and not self.permit.allows(mode):
            raise Refused(
                ConverterError.REFUSED,
                f"the battery's permission is {self.permit.name}; it does not cover {mode.name}",
            )

    def _must_fit_the_bus(
        self, mode: ConverterMode, status: DcdcStatus, droop_ratio: float
    ) -> None:
        bus_v = status.grid_voltage_v
        if mode is ConverterMode.VOLTAGE_REFERENCE:
            is_it = status.mode is ConverterMode.VOLTAGE_REFERENCE
            if droop_ratio > 0.0 or is_it:
                return
            if bus_v is None:
                raise Refused(ConverterError.REFUSED, "it does not say the voltage of the bus")
            if bus_v > ENERGISED_BUS_V:
                raise Refused(
                    ConverterError.BUS_ENERGISED,
                    f"the bus is at {bus_v:.1f} V; it must be at {ENERGISED_BUS_V:g} V at most, "
                    "or droop_ratio > 0 for a hand-over",
                )
        elif bus_v is None or bus_v < self._device.rating.grid_voltage_min_v:
            least_v = self._device.rating.grid_voltage_min_v
            found = "not known" if bus_v is None else f"{bus_v:.1f} V"
            raise Refused(
                ConverterError.REFUSED,
                f"the voltage of the bus is {found}, it must be {least_v:g} V or more",
            )

    def _current_a(self, order: ConverterOrder, mode: ConverterMode) -> float:
        """Current setpoint; of a voltage reference its limit, by default the rated one. [A]"""
        is_limit = mode is ConverterMode.VOLTAGE_REFERENCE
        most_a = self._device.rating.grid_current_max_a
        if self._hardware is not None:
            most_a = min(most_a, self._hardware.grid_current_capacity_a)
        if is_limit and order.grid_current_a is None:
            return most_a
        return _in_range("grid_current_a", order.grid_current_a, 0.0, most_a, "A", above=is_limit)

    def _voltage_v(self, order: ConverterOrder) -> float:
        rating = self._device.rating
        low_v, high_v = rating.grid_voltage_min_v, rating.grid_voltage_max_v
        return _in_range("grid_voltage_v", order.grid_voltage_v, low_v, high_v, "V")

    def _droop_ratio(self, order: ConverterOrder) -> float:
        most = self._device.rating.droop_max_ratio
        return _in_range("droop_ratio", order.droop_ratio, 0.0, most, "")

    # --- settings --------------------------------------------------------------------------------

    def _set_voltage(self, voltage_v: float, droop_ratio: float, deadline_s: float) -> None:
        self._device.set_voltage(
            voltage_v=voltage_v, droop_ratio=droop_ratio, deadline_s=deadline_s
        )
        self._wanted = replace(self._wanted, grid_voltage_v=voltage_v, droop_ratio=droop_ratio)
        self._setpoints = replace(
            self._setpoints, grid_voltage_v=voltage_v, droop_ratio=droop_ratio
        )

    def _set_current(self, current_a: float, deadline_s: float) -> None:
        self._device.set_current(current_a, deadline_s)
        self._wanted = replace(self._wanted, grid_current_a=current_a)
        self._setpoints = replace(self._setpoints, grid_current_a=current_a)

    def _rest(self, deadline_s: float) -> None:
        """Set points of WAIT: nothing that follows may start with old ones."""
        self._set_voltage(self._settings.nominal_voltage_v, 0.0, deadline_s)
        self._set_current(0.0, deadline_s)

    # --- stopping --------------------------------------------------------------------------------

    def _stop(self, cause: StopCause, detail: str) -> None:
        """Go to WAIT. A first cause stays."""
        if self._stopping is None:
            if not self._status.mode.is_active:
                detail = self._stop_detail
                cause = self._stop_cause
            self._stopping = _Stopping(cause, detail, self._clock_s())
        self._say_wait(self._clock_s() + _STOP_LIMIT_S)

    def _say_wait(self, deadline_s: float) -> None:
        """Say WAIT; what fails here is tried again with every poll."""
        stopping = self._stopping
        if stopping is None:
            return
        mode, decided_s = self._status.mode, self._plant_s()
        is_known = self.age_s < _RECENT_S and not stopping.is_said  # what flows until it is obeyed
        try:
            self._disarm_if_fired()
            self._device.set_mode(ConverterMode.WAIT, deadline_s)
        except DeviceError as failure:
            self._note_failure(failure)
            return
        stopping.is_said = True
        if is_known:  # its answer took about as long as the order
            delay_s = self._settings.order_delay_s * self._plant_rate
            self._counter.note_stop(mode, max(self._plant_s() - delay_s, decided_s))

    def _disarm_if_fired(self) -> None:
        dead_man = self._device.dead_man
        if dead_man is not None and dead_man.fired:
            dead_man.disarm()

    def _renew_below(self, hold_s: float) -> None:
        """Let what is below Python act a little later than we do.

        Raises:
            Refused: It has acted already.
        """
        dead_man = self._device.dead_man
        if dead_man is None:
            return
        is_reference = ConverterMode.VOLTAGE_REFERENCE in (self._ordered, self._status.mode)
        grace_s = self._settings.reference_grace_s if is_reference else 0.0
        if not dead_man.renew(hold_s + grace_s + self._settings.guard_margin_s):
            self._watch()
            raise Refused(
                ConverterError.WRONG_MODE, "its hold time has run out; it is going to WAIT"
            )

    # --- reading ---------------------------------------------------------------------------------

    def _read(self, deadline_s: float) -> None:
        self._status = self._device.read_status(deadline_s)
        self._read_s = self._heard_s = self._clock_s()
        self._counter.add(self._status, self._plant_s())

    def _look(self, deadline_s: float) -> None:
        """Read, and see what that says of a stop."""
        was_on = self._status.mode.is_active
        self._read(deadline_s)
        if self._status.mode is not ConverterMode.WAIT:
            return
        if self._stopping is not None:
            if not self._stopping.is_said:
                return
            stopped = self._stopping
            self._stopping = None
            self._stop_cause, self._stop_detail = stopped.cause, stopped.detail
            self._came_to_rest(deadline_s)
        elif was_on and self._ordered is not ConverterMode.WAIT:
            why = f": {self._status.alarm_text}" if self._status.alarm_text else ""
            self._stop_cause = StopCause.TRIP
            self._stop_detail = f"it stopped by itself{why}"
            self._complain("converter_stopped_by_itself", self._stop_detail)
            self._came_to_rest(deadline_s)

    def _came_to_rest(self, deadline_s: float) -> None:
        self._ordered = ConverterMode.WAIT
        self._held.deadline_s = math.inf
        self._counter.set_limit(None, 0.0)
        if self._device.dead_man is not None:
            self._device.dead_man.disarm()
        self._rest(deadline_s)

    def _check_setpoints(self, deadline_s: float) -> None:
        """A device that has lost its set points has lost its thresholds too."""
        self._setpoints_s = self._clock_s()
        found = self._device.read_setpoints(deadline_s)
        for name in ("grid_voltage_v", "grid_current_a", "droop_ratio"):
            told, wanted = getattr(found, name), getattr(self._wanted, name)
            if told is None or wanted is None:
                continue
            if abs(told - wanted) > _SAME_RATIO * max(abs(wanted), 1.0):
                message = f"it holds {name} {told:g} and not {wanted:g}: was its power cycled?"
                self._complain("converter_setpoints_lost", message)
                if self._status.mode.is_active:
                    self._stop(StopCause.TRIP, message)
                self._lost = message
                return
        self._setpoints = found

    # --- what must happen by itself --------------------------------------------------------------

    def _watch(self) -> None:
        now_s, mode = self._clock_s(), self._status.mode
        dead_man = self._device.dead_man
        if dead_man is not None and dead_man.fired and self._stopping is None:
            dead_man.disarm()
            self._held.is_condemned = True
            self._stop(StopCause.HOLD_EXPIRED, self._hold_detail())
        if self._stopping is not None:
            self._see_that_it_stops(self._stopping, now_s)
            return
        self._watch_permit(now_s)
        if not mode.is_active or self._stopping is not None:
            return
        if self._ordered is ConverterMode.WAIT or mode is not self._ordered:
            detail = f"it is in {mode.name} ({self._status.mode_code}), ordered is "
            detail += self._ordered.name
            self._complain("converter_mode_not_ordered", detail)
            self._stop(StopCause.TRIP, detail)
        elif (why := self._violation()) is not None:
            self._complain(*why)
            self._stop(StopCause.TRIP, why[1])
        elif now_s >= self._held.deadline_s:
            self._held.is_condemned = True
            carries = abs(self._status.grid_current_a or 0.0) > _NO_CURRENT_A
            is_reference = mode is ConverterMode.VOLTAGE_REFERENCE
            grace_s = self._settings.reference_grace_s
            if is_reference and carries and now_s < self._held.deadline_s + grace_s:
                return
            if self._is_ending:
                self._stop(StopCause.NONE, "")
            else:
                self._stop(StopCause.HOLD_EXPIRED, self._hold_detail())

    def _hold_detail(self) -> str:
        return f"the order was not renewed within its hold time of {self._held.hold_s:g} s"

    def _violation(self) -> tuple[str, str] | None:
        if self._hardware is None:
            if self._status.alarm is Alarm.HEAVY:
                return "converter_heavy_alarm", "the converter reports a heavy alarm"
            return None
        return static_violation(self.reading(), self._hardware)

    def _watch_permit(self, now_s: float) -> None:
        mode = self._status.mode
        if self.permit is None or self.permit.allows(mode):
            self._denied_s = None
            return
        if self._denied_s is None:
            self._denied_s = now_s
            self._complain(
                "battery_denies_sharing",
                f"the battery's permission is {self.permit.name}; the converter is in {mode.name} "
                f"and goes to WAIT in {self._settings.permit_grace_s:g} s at the latest",
            )
        if now_s >= self._denied_s + self._settings.permit_grace_s:
            self._stop(StopCause.TRIP, "the battery has withdrawn its permission")

    def _see_that_it_stops(self, stopping: _Stopping, now_s: float) -> None:
        if now_s < stopping.since_s + self._settings.wait_limit_s:
            return
        if not stopping.is_complained:
            stopping.is_complained = True
            self._complain(
                "converter_does_not_stop",
                f"it is in {self._status.mode.name} ({self._status.mode_code}) "
                f"{self._settings.wait_limit_s:g} s after WAIT was ordered",
            )
        stopping.is_said = False  # say it again with every poll

    def _note_failure(self, failure: DeviceError) -> None:
        silent_s = self._clock_s() - self._heard_s
        if isinstance(failure, PortError) or (
            isinstance(failure, (DeviceTimeout, BadFrame)) and silent_s > self._settings.lost_s
        ):
            if not self._lost:
                self._complain("converter_unreachable", str(failure))
            self._lost = str(failure)

    def _complain(self, code: str, message: str) -> None:
        self.complaints.append(Complaint(code, message))


_OFF = DcdcSetpoints(grid_voltage_v=0.0, droop_ratio=0.0, grid_current_a=0.0)


def _in_range(
    name: str, value: float | None, low: float, high: float, unit: str, *, above: bool = False
) -> float:
    """The value, if it is a number within low..high (``above``: and more than low)."""
    if value is None or not math.isfinite(value):
        found = "missing" if value is None or math.isnan(value) else f"{value}"
    elif not low <= value <= high or (above and value == low):
        found = f"{value:g} {unit}".rstrip()
    else:
        return value
    least = f"more than {low:g}" if above else f"{low:g}"
    most = f" to {high:g}" if math.isfinite(high) else "" if above else " or more"
    raise Refused(
        ConverterError.OUT_OF_RANGE, f"{name} is {found}, it must be {least}{most} {unit}".rstrip()
    )


def _energy_limit_wh(order: ConverterOrder) -> float | None:
    if order.energy_limit_wh is None:
        return None
    return _in_range("energy_limit_wh", order.energy_limit_wh, 0.0, math.inf, "Wh", above=True)


def _next_current_a(order: ConverterOrder, device: DcdcDevice) -> float:
    """Current once the limit is reached; 0 = WAIT. [A]"""
    if order.next_current_a is None:
        return 0.0
    most_a = device.rating.grid_current_max_a
    return _in_range("next_current_a", order.next_current_a, 0.0, most_a, "A")
