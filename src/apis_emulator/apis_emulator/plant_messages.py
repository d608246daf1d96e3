"""The plant as messages: houses, batteries and the bus. Not known: NaN there, None here.

For converters see :mod:`apis_ros.converter_messages`: they are ordered and read as real ones are.
"""

from __future__ import annotations

import math

from builtin_interfaces.msg import Time
from sensor_msgs.msg import BatteryState

from apis_core.model.types import UnitId
from apis_emulator.physics.plant import NOMINAL_VOLTAGE_V, BusReading, Unit
from apis_interfaces.msg import BusState, HouseState

__all__ = ["battery_state", "bus_state", "house_state"]

_REST_W = 1.0  # a battery below this power neither charges nor discharges


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
    message.header.frame_id = unit_id.lower()  # as its frame in TF is called
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
