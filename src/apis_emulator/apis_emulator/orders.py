"""What a converter makes of an order: checks it, obeys or refuses, and reads itself. Terms and
hold times: see driver.py.
"""

from __future__ import annotations

from apis_core.converter.driver_contract import (
    ENERGISED_BUS_V,
    Refused,
    SetpointLimits,
    must_be_up,
)
from apis_core.model.messages import ConverterOperation, ConverterOrder, ConverterReading
from apis_core.model.types import ConverterError, ConverterMode, UnitId
from apis_emulator.physics.converter import Converter
from apis_emulator.physics.plant import Plant, Unit

__all__ = ["command", "read_converter"]


def command(
    plant: Plant, unit_id: UnitId, order: ConverterOrder, *, is_plain: bool = False
) -> None:
    """Carry out an order: modes change at once, currents and voltages ramp.

    Args:
        plant: All hardware.
        unit_id: Whose converter.
        order: What it is told.
        is_plain: It knows nothing of the bus and of other converters, as a bought one: it obeys
            whatever its registers can hold, and WAIT is off at once. Its driver still reads the
            voltage at its own terminals before a take-over.

    Raises:
        Refused: Nothing was changed.
    """
    unit = plant.units[unit_id]
    match order.operation:
        case ConverterOperation.READ:
            pass
        case ConverterOperation.MODE:
            _change_mode(plant, unit_id, unit, order, is_plain=is_plain)
        case ConverterOperation.CURRENT:
            _must_run(unit.converter)
            current_a = _setpoint_limits(unit.converter).current_a(order, unit.converter.mode)
            _set_limit(unit.converter, order)
            unit.converter.current_setpoint_a = current_a
        case ConverterOperation.VOLTAGE:
            _must_run(unit.converter)
            if not unit.converter.is_reference:
                raise Refused(
                    ConverterError.WRONG_MODE,
                    f"mode is {unit.converter.mode.name}; only a VOLTAGE_REFERENCE obeys this",
                )
            _set_voltage(unit.converter, order)
        case ConverterOperation.HOLD:
            _must_run(unit.converter)
            _set_limit(unit.converter, order)


def read_converter(
    plant: Plant,
    unit_id: UnitId,
    *,
    term: int = 0,
    deal_id: str = "",
    hold_remaining_s: float | None = None,
    stamp_ns: int = 0,
) -> ConverterReading:
    """What the converter measures and counts now, and for whom it works."""
    unit = plant.units[unit_id]
    converter = unit.converter
    grid_v = unit.bus_v
    grid_w = converter.current_a * grid_v
    battery_w = grid_w - converter.loss_w(grid_w)
    battery_v = unit.battery.voltage_v
    return ConverterReading(
        stamp_ns=stamp_ns,
        mode=converter.mode,
        alarm=converter.alarm,
        stop_cause=converter.stop_cause,
        stop_detail=converter.stop_detail,
        grid_voltage_v=grid_v,
        grid_current_a=converter.current_a,
        grid_power_w=grid_w,
        battery_voltage_v=battery_v,
        battery_current_a=battery_w / battery_v,
        battery_power_w=battery_w,
        converter_temp_degc=unit.native.converter_degc,
        grid_voltage_setpoint_v=converter.voltage_setpoint_v,
        grid_current_setpoint_a=converter.current_setpoint_a,
        droop_ratio=converter.droop_ratio,
        grid_charged_wh=converter.charged_wh,
        grid_discharged_wh=converter.discharged_wh,
        battery_charged_wh=unit.native.battery_charged_wh,
        battery_discharged_wh=unit.native.battery_discharged_wh,
        term=term,
        deal_id=deal_id,
        hold_remaining_s=hold_remaining_s,
    )


def _change_mode(
    plant: Plant, unit_id: UnitId, unit: Unit, order: ConverterOrder, *, is_plain: bool
) -> None:
    converter, limits = unit.converter, _setpoint_limits(unit.converter)
    mode = limits.mode(order)
    if mode is ConverterMode.WAIT:
        plant.stop(unit_id)
        if is_plain:
            converter.finish()
        converter.acknowledge()
        return
    current_a, limit_wh = limits.current_a(order, mode), limits.energy_limit_wh(order)
    next_a = limits.next_current_a(order)
    if mode is ConverterMode.VOLTAGE_REFERENCE:
        voltage_v, droop_ratio = limits.voltage_v(order), limits.droop_ratio(order)
        if droop_ratio > 0.0 and not converter.is_reference:
            must_be_up(unit.bus_v)
        if not is_plain:
            _must_be_free(plant, unit_id, droop_ratio)
        converter.start(mode, bus_v=unit.bus_v, energy_limit_wh=limit_wh)
        converter.voltage_setpoint_v = voltage_v
        converter.droop_ratio = droop_ratio
    else:
        if not is_plain:
            _must_be_able(plant, unit_id, unit, mode)
        converter.start(mode, bus_v=unit.bus_v, energy_limit_wh=limit_wh)
    converter.current_setpoint_a, converter.next_current_a = current_a, next_a


def _must_be_free(plant: Plant, unit_id: UnitId, droop_ratio: float) -> None:
    """A second voltage source is allowed only with droop, for a hand-over."""
    unit = plant.units[unit_id]
    bus_v = unit.bus_v
    others = [i for i in plant.read_bus().voltage_reference_ids if i != unit_id]
    is_energised = bus_v > ENERGISED_BUS_V and not unit.converter.is_reference
    if droop_ratio > 0.0 or not (others or is_energised):
        return
    holder = f", held by {', '.join(others)}" if others else ""
    raise Refused(
        ConverterError.BUS_ENERGISED,
        f"the bus is at {bus_v:.1f} V{holder}; it must be free and at "
        f"{ENERGISED_BUS_V:g} V at most, or droop_ratio > 0 for a hand-over",
    )


def _must_be_able(plant: Plant, unit_id: UnitId, unit: Unit, mode: ConverterMode) -> None:
    """A current source needs a bus and a battery."""
    least_v = plant.bus.under_voltage_trip_v
    if unit.converter.is_reference and not plant.is_held_without(unit_id):
        raise Refused(
            ConverterError.WRONG_MODE, "it alone holds the bus voltage; it must go to WAIT first"
        )
    if unit.bus_v < least_v:
        raise Refused(
            ConverterError.REFUSED,
            f"the bus is at {unit.bus_v:.1f} V, it must be at {least_v:g} V or more",
        )
    if mode is ConverterMode.DISCHARGE and unit.is_empty:
        raise Refused(ConverterError.REFUSED, "the battery is empty; drawing is not permitted")
    if mode is ConverterMode.CHARGE and unit.is_full:
        raise Refused(ConverterError.REFUSED, "the battery is full; charging is not permitted")


def _setpoint_limits(converter: Converter) -> SetpointLimits:
    ratings = converter.ratings
    return SetpointLimits(
        voltage_min_v=ratings.voltage_min_v,
        voltage_max_v=ratings.voltage_max_v,
        current_max_a=ratings.rated_current_a,
        droop_max_ratio=ratings.max_droop_ratio,
    )


def _must_run(converter: Converter) -> None:
    if not converter.is_active or converter.is_stopping:
        state = "on its way to WAIT" if converter.is_stopping else "WAIT"
        raise Refused(
            ConverterError.WRONG_MODE, f"mode is {state}; only an active converter obeys this"
        )


def _set_limit(converter: Converter, order: ConverterOrder) -> None:
    """On HOLD and CURRENT no limit means: keep the one that is there."""
    limits = _setpoint_limits(converter)
    limit_wh, next_a = limits.energy_limit_wh(order), limits.next_current_a(order)
    if limit_wh is not None:
        converter.energy_limit_wh, converter.next_current_a = limit_wh, next_a


def _set_voltage(converter: Converter, order: ConverterOrder) -> None:
    """Voltage and droop; no voltage means: keep."""
    limits = _setpoint_limits(converter)
    droop_ratio = limits.droop_ratio(order)
    if order.grid_voltage_v is not None:
        converter.voltage_setpoint_v = limits.voltage_v(order)
    converter.droop_ratio = droop_ratio
