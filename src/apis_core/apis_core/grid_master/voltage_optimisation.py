"""Where on the bus voltage's range the converters of the units that deal lose least.

A converter works best at a certain ratio of bus to battery voltage, so every unit has a voltage
that it would like; the bus gets their mean, weighted with the power that flows through each (the
protocol, 12). The reference decides for all, but the voltage is not the same all along the line:
units that take have less, units that give have more. As all others hold currents, that difference
stays when the reference moves, so it is known beforehand what every unit will measure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

from apis_core.config.policy import Policy
from apis_core.model.types import UnitId

__all__ = ["DealingUnit", "optimal_voltage_v"]

_LEAST_SEPARATIONS = 3  # above the range's lower end: below that, the bus counts as not yet up


@dataclass(frozen=True, slots=True, kw_only=True)
class DealingUnit:
    """What is known of one unit whose deals flow, read now and not when its deal was agreed.

    Attributes:
        efficient_ratio: Best bus over battery voltage, > 0; None = not known.
        battery_voltage_v: Measured, > 0; None = not known. [V]
        grid_voltage_v: Measured at its own terminal; None = not known. [V]
        grid_power_w: Measured, + = from the bus into the unit; None = not known. [W]
    """

    efficient_ratio: float | None
    battery_voltage_v: float | None
    grid_voltage_v: float | None
    grid_power_w: float | None


def optimal_voltage_v(
    units: Mapping[UnitId, DealingUnit], setpoint_v: float | None, policy: Policy
) -> float | None:
    """Setpoint of the reference at which the converters lose least; None = leave it. [V]

    It is left if no power flows or no unit says what it would like, if a unit's voltage is not
    known, and if no setpoint keeps them all in the operating range: what cannot be foreseen is not
    worth a few watts.

    Args:
        units: All that deal, the reference among them, each once however many deals it has.
        setpoint_v: Of the reference now; None = not known. [V]
        policy: With the operating range, the separation, and the drop along the line to allow for.
    """
    wished_v = _mean_wish_v(units)
    drop_v = policy.grid_voltage_drop_allowance_v
    if wished_v is None or drop_v is None or setpoint_v is None:
        return None
    rises_v = []  # over the setpoint, at each unit; < 0 is a drop
    for unit in units.values():
        if unit.grid_voltage_v is None or not isfinite(unit.grid_voltage_v):
            return None
        rises_v.append(unit.grid_voltage_v - setpoint_v)
    min_v, max_v = policy.grid_voltage_min_v, policy.grid_voltage_max_v
    separation_v = policy.grid_voltage_separation_v
    low_v = max(min_v + drop_v, min_v + _LEAST_SEPARATIONS * separation_v, min_v - min(rises_v))
    high_v = min(max_v - drop_v, max_v - separation_v, max_v - max(rises_v))
    return min(max(wished_v, low_v), high_v) if low_v <= high_v else None


def _mean_wish_v(units: Mapping[UnitId, DealingUnit]) -> float | None:
    """Mean of the units' best voltages, weighted with their power. [V]"""
    total_w = weighted = 0.0
    for unit in units.values():
        if unit.efficient_ratio is None or unit.battery_voltage_v is None:
            continue
        wish_v, power_w = unit.efficient_ratio * unit.battery_voltage_v, unit.grid_power_w
        if power_w is not None and isfinite(power_w) and isfinite(wish_v):
            total_w += abs(power_w)
            weighted += abs(power_w) * wish_v
    return weighted / total_w if total_w > 0.0 else None
