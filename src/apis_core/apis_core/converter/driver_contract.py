"""What every driver of a converter holds to, real or emulated: ``ConverterCommand.srv`` as rules.

A driver obeys no order of an older term, none without a hold time, none beyond what the converter
can do; and who holds a converter on without renewing it in time is not obeyed any more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from apis_core.model.messages import (
    ClaimKind,
    ConverterOperation,
    ConverterOrder,
    ConverterReading,
)
from apis_core.model.types import ConverterError, ConverterMode, FaultLevel, StopCause

__all__ = [
    "ENERGISED_BUS_V",
    "FROM_NOBODY",
    "NO_CURRENT_A",
    "TO_WAIT",
    "Complaint",
    "LedTerm",
    "OrderLease",
    "Refused",
    "SetpointLimits",
    "carries_current",
    "in_range",
    "is_wait",
    "must_be_up",
    "protective_stop",
]

# A bus above this has another source on it: under-voltage threshold 300 V, its mask 10 V, and 10 V
# more, as the original.
ENERGISED_BUS_V = 320.0
NO_CURRENT_A = 0.125  # a converter that carries less counts as stopped, or may be switched off
FROM_NOBODY = "order_of_no_grid_master"
_OUTDONE_BY = 5  # claims of another grid master in a row


class Refused(Exception):
    """An order is not carried out. Never leaves a driver, which turns it into a reply."""

    def __init__(self, error: ConverterError, message: str) -> None:
        self.error = error
        super().__init__(message)


def in_range(
    name: str, value: float | None, low: float, high: float, unit: str, *, above: bool = False
) -> float:
    """The value, if it is a number within low..high (``above``: and more than low).

    Raises:
        Refused: It is not.
    """
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


# What everybody may say, at any time.
TO_WAIT = ConverterOrder(operation=ConverterOperation.MODE, mode=ConverterMode.WAIT)


def is_wait(order: ConverterOrder) -> bool:
    """Whether an order is to go to WAIT, whoever says it."""
    return order.operation is ConverterOperation.MODE and order.mode is ConverterMode.WAIT


def must_be_up(bus_v: float | None) -> None:
    """Let a voltage reference with droop begin only where another one holds the bus.

    Args:
        bus_v: What the converter itself measures; None = it does not say. [V]

    Raises:
        Refused: Nobody holds the bus. A first reference, without droop, brings it up.
    """
    if bus_v is None:
        raise Refused(ConverterError.REFUSED, "it does not say the voltage of the bus")
    if bus_v <= ENERGISED_BUS_V:
        raise Refused(
            ConverterError.REFUSED,
            f"the bus is at {bus_v:.1f} V; to take it over (droop_ratio > 0) it must be above "
            f"{ENERGISED_BUS_V:g} V",
        )


def carries_current(reading: ConverterReading) -> bool:
    """Whether so much flows that a voltage reference is not to be switched off lightly."""
    return abs(reading.grid_current_a or 0.0) > NO_CURRENT_A


@dataclass(frozen=True, slots=True)
class Complaint:
    """Something that people and the unit should know; ``code`` is short and stable.

    A warning asks nothing of the unit.
    """

    code: str
    message: str
    level: FaultLevel = FaultLevel.ERROR


def protective_stop(reading: ConverterReading) -> str:
    """Why a converter in WAIT was stopped by its driver or by itself, to protect something.

    Empty = it is on, or stopped because somebody wanted it to, or at its energy limit.
    """
    is_stopped = reading.mode is ConverterMode.WAIT
    is_protective = reading.stop_cause in (StopCause.TRIP, StopCause.HOLD_EXPIRED)
    return reading.stop_detail if is_stopped and is_protective else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetpointLimits:
    """What a converter can be told; each method is a setting of an order, checked.

    Attributes:
        voltage_min_v: Lowest set point of the voltage. [V]
        voltage_max_v: Highest set point of the voltage. [V]
        current_max_a: Highest set point of the current. [A]
        droop_max_ratio: Highest droop.

    Raises:
        Refused: All methods, if the order does not say it or not so that it makes sense.
    """

    voltage_min_v: float
    voltage_max_v: float
    current_max_a: float
    droop_max_ratio: float

    def mode(self, order: ConverterOrder) -> ConverterMode:
        """The mode that the order asks for."""
        if order.mode is ConverterMode.UNKNOWN:
            raise Refused(
                ConverterError.OUT_OF_RANGE,
                "mode is UNKNOWN, it must be WAIT, VOLTAGE_REFERENCE, DISCHARGE or CHARGE",
            )
        return order.mode

    def current_a(self, order: ConverterOrder, mode: ConverterMode) -> float:
        """Set point of the current; of a voltage reference its limit, by default the highest.

        [A]
        """
        is_limit = mode is ConverterMode.VOLTAGE_REFERENCE
        value, most_a = order.grid_current_a, self.current_max_a
        if is_limit and value is None:
            return most_a
        return in_range("grid_current_a", value, 0.0, most_a, "A", above=is_limit)

    def voltage_v(self, order: ConverterOrder) -> float:
        """Set point of the voltage. [V]"""
        low_v, high_v = self.voltage_min_v, self.voltage_max_v
        return in_range("grid_voltage_v", order.grid_voltage_v, low_v, high_v, "V")

    def droop_ratio(self, order: ConverterOrder) -> float:
        """The droop of the voltage reference, 0..droop_max_ratio."""
        return in_range("droop_ratio", order.droop_ratio, 0.0, self.droop_max_ratio, "")

    def energy_limit_wh(self, order: ConverterOrder) -> float | None:
        """The energy at which the converter is to stop by itself; None = no limit. [Wh]"""
        value = order.energy_limit_wh
        if value is None:
            return None
        return in_range("energy_limit_wh", value, 0.0, math.inf, "Wh", above=True)

    def next_current_a(self, order: ConverterOrder) -> float:
        """Current once the limit is reached; 0 = WAIT. [A]"""
        if order.next_current_a is None:
            return 0.0
        return in_range("next_current_a", order.next_current_a, 0.0, self.current_max_a, "A")


@dataclass(slots=True)
class LedTerm:
    """The newest term that somebody leads or stands for, by the claims that a driver hears.

    An order of a newer term than this comes from nobody. A claim that is not repeated while
    another grid master goes on leading an older term counts no more: members never go back to an
    older term, so nobody followed it.

    Attributes:
        term: 0 = no claim has been heard, so nothing is known.
    """

    term: int = 0
    _older: tuple[int, int] = (0, 0)  # an older term, and how many claims of it came in a row

    def hear(self, kind: ClaimKind, term: int) -> None:
        """Take note of a term that a candidate or a grid master claims."""
        if kind is ClaimKind.RESIGN:
            return
        if term >= self.term:
            self.term, self._older = term, (0, 0)
        elif kind is ClaimKind.MASTER:
            older, count = self._older
            count = count + 1 if older == term else 1
            self._older = (term, count)
            if count >= _OUTDONE_BY:
                self.term, self._older = term, (0, 0)

    def why_not(self, order: ConverterOrder) -> str:
        """Why an order comes from nobody; empty = its term is led, or nothing is known."""
        if not self.term or order.term <= self.term:
            return ""
        whose = f" of {order.grid_master_id}" if order.grid_master_id else ""
        return f"term is {order.term}{whose}, which nobody leads; the newest is {self.term}"


@dataclass(slots=True)
class OrderLease:
    """What is remembered of the orders that a converter has obeyed.

    Attributes:
        led: Which terms count.
        term: The newest.
        deal_id: In whose name the last one was.
        giver_id: Grid master that gave the one in force; empty = none is, or it did not say.
        hold_s: For how long it holds. [s]
        deadline_s: Until when; inf = nothing is held. On a steady clock. [s]
        is_expired: The hold has run out: no renewal helps any more.
    """

    led: LedTerm = field(default_factory=LedTerm)
    term: int = 0
    deal_id: str = ""
    giver_id: str = ""
    hold_s: float = 0.0
    deadline_s: float = math.inf
    is_expired: bool = False

    @property
    def _least_term(self) -> int:
        """No older one is obeyed. One that was obeyed, but that nobody leads, binds nobody."""
        return min(self.term, self.led.term) if self.led.term else self.term

    @property
    def expiry(self) -> str:
        """Why it stops when nobody has renewed it, for people."""
        return f"the order was not renewed within its hold time of {self.hold_s:g} s"

    def remaining_s(self, now_s: float) -> float:
        """What is left of the hold time; 0 = nothing, or nothing is held. [s]"""
        return max(self.deadline_s - now_s, 0.0) if math.isfinite(self.deadline_s) else 0.0

    def check(self, order: ConverterOrder) -> None:
        """Whether an order (not READ) may be obeyed, for all that was obeyed before.

        Raises:
            Refused: It may not.
        """
        if order.term == 0 and not is_wait(order):
            raise Refused(
                ConverterError.OUT_OF_RANGE,
                "term is 0, it must be the grid master's; 0 is for READ and MODE WAIT",
            )
        if 0 < order.term < self._least_term:
            raise Refused(
                ConverterError.OLD_TERM,
                f"term is {order.term}, it must be {self._least_term} or more: "
                "that one has been obeyed",
            )
        if is_wait(order):
            return
        if why := self.led.why_not(order):
            raise Refused(ConverterError.REFUSED, why)
        if self.is_expired and order.operation is not ConverterOperation.MODE:
            raise Refused(
                ConverterError.WRONG_MODE, "its hold time has run out; it is going to WAIT"
            )
        in_range("hold_s", order.hold_s, 0.0, math.inf, "s", above=True)

    def take(self, order: ConverterOrder, now_s: float) -> None:
        """Take note of an order that the converter has obeyed: its term, deal and hold time."""
        if not self.led.why_not(order):  # anybody's WAIT is obeyed, but it binds nobody
            self.term = max(self._least_term, order.term)
        self.deal_id = order.deal_id
        self.giver_id = "" if is_wait(order) else order.grid_master_id
        if not is_wait(order) and order.hold_s is not None:
            self.hold_s = order.hold_s
            self.deadline_s = now_s + order.hold_s
            self.is_expired = False
