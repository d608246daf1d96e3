"""What is on the bus and belongs to no unit: a leak, an earth fault, a source nobody knows."""

from __future__ import annotations

from collections.abc import Iterable

import apis_control
from apis_core.model.types import ConverterMode, UnitId
from apis_emulator.physics.plant import Plant

__all__ = ["ForeignDevice", "connect"]

JOINT_OHM = 0.001  # to the unit whose terminal it hangs on
EARTH_V = 1e-6  # [V] a source of so much behind a resistance is a resistor to earth
RATED_A = 1e4
NEVER_V = 1e9
STORE_WH = 1e9  # behind a source: never full, never empty


class ForeignDevice:
    """One device on the bus beside the units, off at first.

    To the plant it is one more node with a converter that protects itself from nothing. It adds
    the capacitance of one terminal.

    Args:
        plant: All hardware; forgets its lines, see :func:`connect`.
        at: The unit on whose terminal it hangs.
    """

    def __init__(self, plant: Plant, at: UnitId) -> None:
        self.at = at
        self._converter = apis_control.Converter(
            rated_current_a=RATED_A,
            rated_power_w=RATED_A * NEVER_V,
            current_slew_a_per_s=RATED_A,
            voltage_up_v_per_s=NEVER_V,
            voltage_down_v_per_s=NEVER_V,
            under_voltage_trip_v=-NEVER_V,
            over_voltage_trip_v=NEVER_V,
            saturation_trip_s=NEVER_V,
            waiting_w=0.0,
            constant_w=0.0,
            linear=0.0,
            quadratic_per_w=0.0,
        )
        self.native = plant.native.add(
            self._converter, capacity_wh=STORE_WH, stored_wh=STORE_WH / 2.0, solar=0.0, load=0.0
        )

    @property
    def current_a(self) -> float:
        """What leaves the bus here; a source has less than 0. [A]"""
        return self._converter.current_a

    def leak(self, current_a: float) -> None:
        """Let a current leave the bus for as long as there is a voltage. [A, > 0]"""
        self._start(ConverterMode.CHARGE, 0.0)
        self._converter.current_setpoint_a = current_a

    def earth(self, ohm: float) -> None:
        """Join the bus with earth. [ohm, > 0]"""
        self.hold(EARTH_V, ohm)

    def hold(self, voltage_v: float, ohm: float) -> None:
        """Hold the bus at a voltage, through a resistance. [V, ohm, both > 0]"""
        self._start(ConverterMode.VOLTAGE_REFERENCE, voltage_v)
        self._converter.voltage_setpoint_v = voltage_v
        self._converter.droop_ratio = ohm * RATED_A / voltage_v
        self._converter.current_setpoint_a = RATED_A

    def remove(self) -> None:
        """Take it off the bus."""
        self._converter.finish()
        self._converter.current_a = 0.0

    def _start(self, mode: ConverterMode, bus_v: float) -> None:
        self._converter.start(int(mode), bus_v=bus_v, energy_limit_wh=None)


def connect(
    plant: Plant, lines: Iterable[tuple[UnitId, UnitId, float]], devices: Iterable[ForeignDevice]
) -> None:
    """Give the bus its wires, those to foreign devices behind the others; none = an ideal bus."""
    index = {unit_id: unit.native.index for unit_id, unit in plant.units.items()}
    wires = [(index[a], index[b], ohm) for a, b, ohm in lines]
    if wires:
        wires += [(index[each.at], each.native.index, JOINT_OHM) for each in devices]
    plant.native.set_lines(wires)
