"""What a unit answers its grid master: why it does not carry an order out, or how that went."""

from __future__ import annotations

from apis_core.config.hardware import Hardware
from apis_core.config.policy import Policy
from apis_core.converter.shares import SAME_A, Shares
from apis_core.model.messages import ControlReply, ControlRequest, ConverterReading, ConverterReply
from apis_core.model.types import (
    ControlError,
    ControlOperation,
    ConverterError,
    ConverterMode,
    Direction,
)

__all__ = ["OF_THE_REFERENCE", "outcome", "why_not"]

_Op = ControlOperation
_CURRENTS = tuple(direction.control_operation for direction in Direction)
_ORDERS_CURRENT = (*_CURRENTS, _Op.CURRENT)
_TAKES_VOLTAGE = (_Op.VOLTAGE_REFERENCE, _Op.VOLTAGE, _Op.WILL_TAKE_OVER)
_UNREAD = "the bus voltage has not been read"
OF_THE_REFERENCE = (_Op.VOLTAGE, _Op.WILL_HAND_OVER, _Op.DID_HAND_OVER, _Op.DID_TAKE_OVER)


def why_not(
    request: ControlRequest,
    direction: Direction | None,
    shares: Shares,
    reading: ConverterReading,
    policy: Policy,
    hardware: Hardware,
    *,
    is_reference: bool,
    stop_reason: str,
) -> ControlReply | None:
    """The refusal of an order, without a reading; None = it may be carried out.

    Args:
        request: Anything but ACQUIRE and RELEASE.
        direction: This unit's direction in the deal; None = it has none.
        shares: What deals have of the converter's current.
        reading: The newest reading of the converter.
        policy: The policy of the cluster.
        hardware: With the capacity of the converter.
        is_reference: Whether the converter is ordered to hold the voltage.
        stop_reason: Why the unit is stopping the converter by itself; empty = it is not.
    """
    operation = request.operation
    if stop_reason and operation is not _Op.WAIT:
        return _refusal(ControlError.NOT_DEALING, f"is stopping: {stop_reason}")
    if operation in (_Op.WAIT, _Op.HOLD):
        return None
    if request.hold_ns <= 0:
        return _refusal(ControlError.OUT_OF_RANGE, "hold_s must be above 0 s")
    is_other = direction is None or operation is not direction.control_operation
    if operation in _CURRENTS and is_other:
        message = f"its part in the deal is not to {operation.name}"
        return _refusal(ControlError.OTHER_DIRECTION, message)
    if operation in OF_THE_REFERENCE and not is_reference:
        return _refusal(ControlError.OUT_OF_RANGE, "it is not the voltage reference")
    if operation in _ORDERS_CURRENT:
        may_be_zero = is_reference and operation is _Op.CURRENT
        reason = _why_not_current(request, shares, hardware, may_be_zero=may_be_zero)
        if reason:
            return _refusal(ControlError.OUT_OF_RANGE, reason)
    if operation in _TAKES_VOLTAGE:
        voltage_v = request.grid_voltage_v
        if operation is _Op.WILL_TAKE_OVER and voltage_v is None:
            voltage_v = reading.grid_voltage_v
        low_v, high_v = policy.grid_voltage_min_v, policy.grid_voltage_max_v
        if voltage_v is None or not low_v <= voltage_v <= high_v:
            right = f"it must be within {low_v:g}..{high_v:g} V"
            return _refusal(ControlError.OUT_OF_RANGE, f"grid_voltage_v is {voltage_v}; {right}")
    if operation is _Op.WILL_TAKE_OVER:
        reason = _no_bus_to_take_over(reading, policy)
        if reason:
            return _refusal(ControlError.OUT_OF_RANGE, reason)
    if operation is _Op.VOLTAGE_REFERENCE:
        reason = bus_in_the_way(reading, policy)
        if reason:
            return _refusal(ControlError.BUS_ENERGISED, reason)
    return None


def outcome(request: ControlRequest, reply: ConverterReply | None) -> tuple[ControlError, str]:
    """What the driver's answer to an order means for the grid master; None = no answer."""
    if reply is None:
        return ControlError.CONVERTER, "its converter does not answer"
    if reply.error is ConverterError.NONE:
        return ControlError.NONE, ""
    if request.operation in (_Op.HOLD, _Op.ADOPT) and reply.error is ConverterError.WRONG_MODE:
        # a converter that has just stopped by itself cannot be held; its reading says why
        return ControlError.NONE, ""
    if reply.error is ConverterError.BUS_ENERGISED:
        return ControlError.BUS_ENERGISED, reply.message
    return ControlError.CONVERTER, reply.message


def bus_in_the_way(reading: ConverterReading, policy: Policy) -> str:
    """Why the bus forbids a first reference; empty = it does not.

    Another source holds it, or it sits in the under-voltage lock-out band.
    """
    if reading.mode is ConverterMode.VOLTAGE_REFERENCE:
        return ""
    bus_v = reading.grid_voltage_v
    if bus_v is None:
        return _UNREAD
    dead_v = policy.grid_voltage_min_v + 2.0 * policy.grid_voltage_separation_v
    if bus_v > dead_v:
        return f"the bus is at {bus_v:.1f} V, above {dead_v:g} V: another source holds it"
    if abs(bus_v - policy.grid_voltage_min_v) <= policy.grid_uvlo_mask_v:
        return f"the bus is at {bus_v:.1f} V, in the under-voltage lock-out band"
    return ""


def _no_bus_to_take_over(reading: ConverterReading, policy: Policy) -> str:
    """Why there is no voltage to take over; empty = there is, or the converter holds it already.

    A bus outside the policy's range is held by nobody as it should be. To energise it is the
    business of a first reference, with its lock-out band, its ramp and its proof.
    """
    if reading.mode is ConverterMode.VOLTAGE_REFERENCE:
        return ""
    bus_v = reading.grid_voltage_v
    if bus_v is None:
        return _UNREAD
    low_v, high_v = policy.grid_voltage_min_v, policy.grid_voltage_max_v
    if low_v <= bus_v <= high_v:
        return ""
    range_ = f"outside {low_v:g}..{high_v:g} V"
    return f"the bus is at {bus_v:.1f} V, {range_}: there is no voltage to take over"


def _refusal(error: ControlError, message: str) -> ControlReply:
    return ControlReply(error=error, message=message)


def _why_not_current(
    request: ControlRequest, shares: Shares, hardware: Hardware, *, may_be_zero: bool
) -> str:
    capacity_a, current_a = hardware.grid_current_capacity_a, request.grid_current_a
    if current_a is None or not (current_a > 0.0 or (may_be_zero and current_a == 0.0)):
        return f"grid_current_a is {current_a}; it must be above 0 A"
    others_a = shares.others_a(request.deal_id)
    if others_a + current_a > capacity_a + SAME_A:
        others = f" beside {others_a:g} A for other deals" if others_a else ""
        return f"grid_current_a is {current_a:g}{others}; it must be <= {capacity_a:g} A"
    return ""
