"""What a battery says, as ROS's own message. Not known: NaN there, None here."""

from __future__ import annotations

import math

from sensor_msgs.msg import BatteryState

from apis_core.model.types import UnitId
from apis_driver.device import BatteryStatus
from apis_ros.conversions import ROS_TIME

__all__ = ["battery_state"]

_REST_A = 0.1  # a battery below this current neither charges nor discharges
_FULL_RATIO = 0.999


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
    message.header.stamp = ROS_TIME.to_stamp(stamp_ns)
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


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
