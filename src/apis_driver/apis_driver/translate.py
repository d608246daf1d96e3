"""Between the messages of the graph and our values, and nothing else. Not known: NaN there, None
here.
"""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

from builtin_interfaces.msg import Time
from sensor_msgs.msg import BatteryState

from apis_core.converter.driver_contract import Complaint
from apis_core.model.messages import (
    ClaimKind,
    ConverterOperation,
    ConverterOrder,
    ConverterReading,
    ConverterReply,
)
from apis_core.model.types import ConverterMode, FaultCategory, FaultExtent, UnitId
from apis_driver.device import BatteryStatus
from apis_interfaces.msg import ConverterState, Fault, GridMasterClaim
from apis_interfaces.srv import ConverterCommand

__all__ = [
    "battery_state",
    "claim",
    "converter_order",
    "converter_state",
    "fault",
    "fill_reply",
    "time_of",
]

_READING_FIELDS = tuple(
    field.name
    for field in fields(ConverterReading)
    if field.name in ConverterState.get_fields_and_field_types()
)
_REST_A = 0.1  # a battery below this current neither charges nor discharges
_FULL_RATIO = 0.999


def converter_order(request: Any) -> ConverterOrder | None:
    """An order of a ConverterCommand; None if its operation does not exist."""
    try:
        operation = ConverterOperation(request.operation)
    except ValueError:
        return None
    is_mode_known = request.mode in ConverterMode.__members__.values()
    return ConverterOrder(
        operation=operation,
        mode=ConverterMode(request.mode) if is_mode_known else ConverterMode.UNKNOWN,
        grid_voltage_v=_known(request.grid_voltage_v),
        grid_current_a=_known(request.grid_current_a),
        droop_ratio=_known(request.droop_ratio) or 0.0,
        energy_limit_wh=_known(request.energy_limit_wh),
        next_current_a=_known(request.next_current_a),
        hold_s=_known(request.hold_s),
        term=request.term,
        grid_master_id=request.grid_master_id,
        deal_id=request.deal_id,
    )


def fill_reply(
    response: ConverterCommand.Response, reply: ConverterReply, unit_id: UnitId
) -> ConverterCommand.Response:
    """Put a reply into the response of the service."""
    response.error_code = int(reply.error)
    response.error_msg = reply.message
    response.state = converter_state(unit_id, reply.reading or ConverterReading())
    return response


def claim(message: GridMasterClaim) -> tuple[ClaimKind, int] | None:
    """What somebody claims and in which term; None if its kind does not exist."""
    try:
        return ClaimKind(message.kind), message.term
    except ValueError:
        return None


def fault(unit_id: UnitId, complaint: Complaint, deal_id: str, stamp_ns: int) -> Fault:
    """What a driver has to say of its converter, for the unit and for people."""
    return Fault(
        unit_id=unit_id,
        # not the unit's own id: it takes no word of its own from the graph
        reporter_id=f"{unit_id}/driver",
        category=int(FaultCategory.HARDWARE),
        extent=int(FaultExtent.LOCAL),
        level=int(complaint.level),
        code=complaint.code,
        message=complaint.message,
        deal_id=deal_id,
        stamp=time_of(stamp_ns),
    )


def converter_state(unit_id: UnitId, reading: ConverterReading) -> ConverterState:
    """A reading as a message. Its fields have the same names."""
    message = ConverterState(stamp=time_of(reading.stamp_ns), unit_id=unit_id)
    for name in _READING_FIELDS:
        value = getattr(reading, name)
        setattr(message, name, math.nan if value is None else value)
    return message


def battery_state(unit_id: UnitId, status: BatteryStatus | None, stamp_ns: int) -> BatteryState:
    """The battery as it says; None = it says nothing."""
    message = BatteryState(
        voltage=math.nan,
        temperature=math.nan,
        current=math.nan,
        charge=math.nan,
        capacity=math.nan,
        design_capacity=math.nan,
        percentage=math.nan,
        present=status is not None,
        location=unit_id,
    )
    message.header.stamp = time_of(stamp_ns)
    message.header.frame_id = unit_id.lower()  # as its frame in TF is called
    if status is None:
        return message
    message.voltage = _or_nan(status.voltage_v)
    message.current = _or_nan(status.current_a)
    message.temperature = _or_nan(status.temp_degc)
    message.percentage = _or_nan(status.soc_ratio)
    if status.current_a is None:
        return message
    if status.current_a > _REST_A:
        message.power_supply_status = BatteryState.POWER_SUPPLY_STATUS_CHARGING
    elif status.current_a < -_REST_A:
        message.power_supply_status = BatteryState.POWER_SUPPLY_STATUS_DISCHARGING
    elif status.soc_ratio is not None and status.soc_ratio >= _FULL_RATIO:
        message.power_supply_status = BatteryState.POWER_SUPPLY_STATUS_FULL
    else:
        message.power_supply_status = BatteryState.POWER_SUPPLY_STATUS_NOT_CHARGING
    return message


def time_of(stamp_ns: int) -> Time:
    """An instant as a message."""
    seconds, nanoseconds = divmod(stamp_ns, 1_000_000_000)
    return Time(sec=seconds, nanosec=nanoseconds)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
