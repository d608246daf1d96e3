"""Three converters on one bus, as values: orders and time make new ones.

They are as plain as bought ones: they obey whatever their registers can hold, at once, and know
nothing of each other. What a driver remembers and refuses is the core's own ``driver_contract``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from apis_core.converter.driver_contract import (
    LedTerm,
    OrderLease,
    Refused,
    SetpointLimits,
    is_wait,
)
from apis_core.model.messages import (
    ClaimKind,
    ConverterOperation,
    ConverterOrder,
    ConverterReading,
    ConverterReply,
)
from apis_core.model.types import NOBODY, Alarm, ConverterError, ConverterMode, StopCause, UnitId
from apis_core.model.units import ns_from_s, s_from_ns, wh_from_w

__all__ = [
    "Converter",
    "bus_v",
    "currents_a",
    "hear_claim",
    "is_stiff",
    "obey",
    "pass_time",
    "read",
]

_LIMITS = SetpointLimits(
    voltage_min_v=0.0, voltage_max_v=400.0, current_max_a=2.5, droop_max_ratio=0.2
)
_LOSS_W = 4.0  # of a converter that is on
_BATTERY_V = 52.0
_NO_HOLD_NS = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Converter:
    """A converter and its driver.

    Attributes:
        hold_ns: What is left of the hold time; -1 = nothing is held. [ns]
        expired: The hold has run out.
        led: The newest term that is led, an older one, and how many claims of that came in a row.
        counted_wh: What has flowed since the energy limit began to count. [Wh]
    """

    mode: ConverterMode = ConverterMode.WAIT
    voltage_v: float = 0.0
    current_a: float = 0.0
    droop_ratio: float = 0.0
    limit_wh: float | None = None
    next_a: float = 0.0
    counted_wh: float = 0.0
    cause: StopCause = StopCause.NONE
    detail: str = ""
    term: int = 0
    deal_id: str = ""
    giver_id: UnitId = NOBODY
    hold_s: float = 0.0
    hold_ns: int = _NO_HOLD_NS
    expired: bool = False
    led: tuple[int, tuple[int, int]] = (0, (0, 0))
    charged_wh: float = 0.0
    discharged_wh: float = 0.0
    battery_charged_wh: float = 0.0
    battery_discharged_wh: float = 0.0

    @property
    def is_on(self) -> bool:
        """Whether it is not in WAIT."""
        return self.mode is not ConverterMode.WAIT


def is_stiff(converter: Converter) -> bool:
    """Whether it holds the voltage and gives way to nobody."""
    return converter.mode is ConverterMode.VOLTAGE_REFERENCE and converter.droop_ratio == 0.0


def bus_v(converters: Sequence[Converter]) -> float:
    """The bus follows the stiffest of its references at once, and is dead without one. [V]"""
    holding = [c for c in converters if c.mode is ConverterMode.VOLTAGE_REFERENCE]
    return min(holding, key=lambda c: c.droop_ratio).voltage_v if holding else 0.0


def currents_a(converters: Sequence[Converter]) -> list[float]:
    """What each carries, + from the bus into the unit; references share what is left. [A]"""
    is_up = bus_v(converters) > 0.0
    flows = []
    for each in converters:
        sign = {ConverterMode.CHARGE: 1.0, ConverterMode.DISCHARGE: -1.0}.get(each.mode, 0.0)
        flows.append(sign * each.current_a * is_up)
    holding = [i for i, c in enumerate(converters) if c.mode is ConverterMode.VOLTAGE_REFERENCE]
    rest_a = -sum(flows)
    for index in holding:
        flows[index] = rest_a / len(holding)
    return flows


def hear_claim(converter: Converter, kind: ClaimKind, term: int) -> Converter:
    """Its driver hears who claims to lead."""
    led = LedTerm(*converter.led)
    led.hear(kind, term)
    return replace(converter, led=(led.term, led._older))


def obey(
    converters: Sequence[Converter], index: int, order: ConverterOrder, stamp_ns: int
) -> tuple[Converter, ConverterReply]:
    """One of them gets an order; the converter after it, and what its driver answers."""
    converter, error, message = converters[index], ConverterError.NONE, ""
    try:
        if order.operation is not ConverterOperation.READ:
            converter = _obey(converters, converter, order)
    except Refused as refused:
        error, message = refused.error, str(refused)
    after = [*converters]
    after[index] = converter
    reading = read(after, index, stamp_ns)
    return converter, ConverterReply(error=error, message=message, reading=reading)


def _obey(
    converters: Sequence[Converter], converter: Converter, order: ConverterOrder
) -> Converter:
    is_held = converter.hold_ns != _NO_HOLD_NS
    lease = OrderLease(
        led=LedTerm(*converter.led),
        term=converter.term,
        deal_id=converter.deal_id,
        giver_id=converter.giver_id,
        hold_s=converter.hold_s,
        deadline_s=s_from_ns(converter.hold_ns) if is_held else math.inf,
        is_expired=converter.expired,
    )
    lease.check(order)
    converter = _command(converters, converter, order)
    lease.take(order, 0.0)
    return replace(
        converter,
        term=lease.term,
        deal_id=lease.deal_id,
        giver_id=lease.giver_id,
        hold_s=lease.hold_s,
        hold_ns=ns_from_s(lease.deadline_s) if converter.is_on else _NO_HOLD_NS,
        expired=lease.is_expired,
    )


def _command(
    converters: Sequence[Converter], converter: Converter, order: ConverterOrder
) -> Converter:
    if is_wait(order):
        return replace(_stopped(converter), cause=StopCause.NONE, detail="")
    if order.operation is ConverterOperation.MODE:
        mode = _LIMITS.mode(order)
        is_source = mode is ConverterMode.VOLTAGE_REFERENCE
        return replace(
            converter,
            mode=mode,
            current_a=_LIMITS.current_a(order, mode),
            voltage_v=_LIMITS.voltage_v(order) if is_source else 0.0,
            droop_ratio=_LIMITS.droop_ratio(order) if is_source else 0.0,
            limit_wh=_LIMITS.energy_limit_wh(order),
            next_a=_LIMITS.next_current_a(order),
            counted_wh=0.0,
            cause=StopCause.NONE,
            detail="",
        )
    if not converter.is_on:
        raise Refused(ConverterError.WRONG_MODE, "mode is WAIT; only an active converter obeys")
    if order.operation is ConverterOperation.VOLTAGE:
        if converter.mode is not ConverterMode.VOLTAGE_REFERENCE:
            raise Refused(ConverterError.WRONG_MODE, "only a VOLTAGE_REFERENCE obeys this")
        is_moved = order.grid_voltage_v is not None
        voltage_v = _LIMITS.voltage_v(order) if is_moved else converter.voltage_v
        return replace(converter, voltage_v=voltage_v, droop_ratio=_LIMITS.droop_ratio(order))
    if order.energy_limit_wh is not None:
        limit_wh, next_a = _LIMITS.energy_limit_wh(order), _LIMITS.next_current_a(order)
        converter = replace(converter, limit_wh=limit_wh, next_a=next_a)
    if order.operation is ConverterOperation.CURRENT:
        converter = replace(converter, current_a=_LIMITS.current_a(order, converter.mode))
    return converter


def read(converters: Sequence[Converter], index: int, stamp_ns: int) -> ConverterReading:
    """What one of them measures."""
    converter = converters[index]
    current_a, voltage_v = currents_a(converters)[index], bus_v(converters)
    grid_w = current_a * voltage_v
    battery_w = grid_w - _LOSS_W * converter.is_on
    is_held = converter.hold_ns != _NO_HOLD_NS
    return ConverterReading(
        stamp_ns=stamp_ns,
        mode=converter.mode,
        alarm=Alarm.NONE,
        stop_cause=converter.cause,
        stop_detail=converter.detail,
        grid_voltage_v=voltage_v,
        grid_current_a=current_a,
        grid_power_w=grid_w,
        battery_voltage_v=_BATTERY_V,
        battery_current_a=battery_w / _BATTERY_V,
        battery_power_w=battery_w,
        converter_temp_degc=25.0,
        grid_voltage_setpoint_v=converter.voltage_v,
        grid_current_setpoint_a=converter.current_a,
        droop_ratio=converter.droop_ratio,
        grid_charged_wh=converter.charged_wh,
        grid_discharged_wh=converter.discharged_wh,
        battery_charged_wh=converter.battery_charged_wh,
        battery_discharged_wh=converter.battery_discharged_wh,
        term=converter.term,
        deal_id=converter.deal_id,
        hold_remaining_s=s_from_ns(converter.hold_ns) if is_held else 0.0,
    )


def pass_time(converters: Sequence[Converter], by_ns: int) -> list[Converter]:
    """All of them some time later: what flowed is counted, dead men and energy limits act."""
    voltage_v = bus_v(converters)
    after = []
    for each, current_a in zip(converters, currents_a(converters), strict=True):
        after.append(_later(each, current_a * voltage_v, by_ns) if each.is_on else each)
    return after


def _later(converter: Converter, grid_w: float, by_ns: int) -> Converter:
    grid_wh = wh_from_w(grid_w, by_ns)
    battery_wh = wh_from_w(grid_w - _LOSS_W, by_ns)
    hold_ns = max(converter.hold_ns - by_ns, 0)
    converter = replace(
        converter,
        counted_wh=converter.counted_wh + abs(grid_wh),
        charged_wh=converter.charged_wh + max(grid_wh, 0.0),
        discharged_wh=converter.discharged_wh + max(-grid_wh, 0.0),
        battery_charged_wh=converter.battery_charged_wh + max(battery_wh, 0.0),
        battery_discharged_wh=converter.battery_discharged_wh + max(-battery_wh, 0.0),
        hold_ns=hold_ns,
    )
    if hold_ns == 0:
        detail = f"the order was not renewed within its hold time of {converter.hold_s:g} s"
        off = _stopped(converter)
        return replace(off, cause=StopCause.HOLD_EXPIRED, detail=detail, expired=True)
    limit_wh = converter.limit_wh
    if limit_wh is not None and converter.counted_wh >= limit_wh:
        if converter.next_a:
            return replace(converter, limit_wh=None, current_a=converter.next_a)
        return replace(
            _stopped(converter), cause=StopCause.ENERGY_REACHED, detail="energy reached"
        )
    return converter


def _stopped(converter: Converter) -> Converter:
    return replace(
        converter,
        mode=ConverterMode.WAIT,
        voltage_v=0.0,
        current_a=0.0,
        droop_ratio=0.0,
        limit_wh=None,
        next_a=0.0,
        hold_ns=_NO_HOLD_NS,
    )
