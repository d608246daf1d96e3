"""Between the messages of the graph and our values, and nothing else. Not known: NaN there, None
here.
"""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

from builtin_interfaces.msg import Time
from sensor_msgs.msg import BatteryState

from apis_core.messages import (
    ConverterOperation,
    ConverterOrder,
    ConverterReading,
    ConverterReply,
)
from apis_core.types import ConverterMode, UnitId
from apis_emulator.physics.plant import NOMINAL_VOLTAGE_V, BusReading, Unit
from apis_interfaces.msg import BusState, ConverterState, HouseState
from apis_interfaces.srv import ConverterCommand

__all__ = ["battery_state", "bus_state", "converter_state", "fill_reply", "house_state", "order"]

_READING_FIELDS = tuple(
    field.name
    for field in fields(ConverterReading)
    if field.name in ConverterState.get_fields_and_field_types()
)
_REST_W = 1.0  # a battery below this power neither charges nor discharges


def order(request: Any) -> ConverterOrder | None:
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
    response: ConverterCommand.Response, reply: ConverterReply, state: ConverterState
) -> ConverterCommand.Response:
    """Put a reply into the response of the service."""
    response.error_code = int(reply.error)
    response.error_msg = reply.message
    response.state = state
    return response


def converter_state(unit_id: UnitId, reading: ConverterReading, stamp: Time) -> ConverterState:
    """A reading as a message. Its fields have the same names."""
    message = ConverterState(stamp=stamp, unit_id=unit_id)
    for name in _READING_FIELDS:
        value = getattr(reading, name)
        setattr(message, name, math.nan if value is None else value)
    return message


def house_state(unit_id: UnitId, unit: Unit, stamp: Time) -> HouseState:
    """Powers of the last step."""
    flow = unit.flow
    return HouseState(
        stamp=stamp,
        unit_id=unit_id,
        solar_power_w=flow.solar_w,
        solar_available_w=flow.solar_available_w,
        load_power_w=flow.load_w,
        mains_power_w=flow.mains_w,
        battery_power_w=flow.battery_w,
        losses_w=flow.losses_w,
        unserved_load_w=flow.unserved_w,
    )


def battery_state(unit_id: UnitId, unit: Unit, stamp: Time) -> BatteryState:
    """The battery as its management says it; its charge in Ah is not modelled."""
    battery, power_w = unit.battery, unit.flow.battery_w
    message = BatteryState(
        voltage=battery.voltage_v,
        temperature=battery.temp_degc,
        current=battery.current_a,
        charge=math.nan,
        capacity=math.nan,
        design_capacity=battery.capacity_wh / NOMINAL_VOLTAGE_V,
        percentage=battery.soc_ratio,
        power_supply_health=BatteryState.POWER_SUPPLY_HEALTH_GOOD,
        power_supply_technology=BatteryState.POWER_SUPPLY_TECHNOLOGY_LIFE,
        present=True,
        location=unit_id,
    )
    message.header.stamp = stamp
    if unit.is_full and power_w >= 0.0:
        message.power_supply_status = BatteryState.POWER_SUPPLY_STATUS_FULL
    elif abs(power_w) < _REST_W:
        message.power_supply_status = BatteryState.POWER_SUPPLY_STATUS_NOT_CHARGING
    elif power_w > 0.0:
        message.power_supply_status = BatteryState.POWER_SUPPLY_STATUS_CHARGING
    else:
        message.power_supply_status = BatteryState.POWER_SUPPLY_STATUS_DISCHARGING
    return message


def bus_state(reading: BusReading, speed: float, stamp: Time) -> BusState:
    """The bus."""
    return BusState(
        stamp=stamp,
        voltage_v=reading.voltage_v,
        transported_power_w=reading.transported_power_w,
        line_loss_w=reading.line_loss_w,
        line_loss_wh=reading.line_loss_wh,
        voltage_reference_ids=list(reading.voltage_reference_ids),
        speed=speed,
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
