"""The full physics behind the original's HTTP interface: the same requests, other answers.

Batteries, converters and lines are those of :mod:`apis_emulator.physics`, sun and load those that
the original's formulas get. So a program that was written for the original sees a bus that ramps
by simulated time, losses over load, ohmic and thermal batteries, and converters that trip. What
real hardware would refuse (a second voltage reference without droop, a current without a bus) is
refused: 400 with the reason. State of charge and meters are not rounded.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from apis_compat.emulator.inputs import FloatArray
from apis_compat.emulator.model import BATTERY_WH, WAITING, BadRequest, Emulation, Saved, Unit
from apis_compat.emulator.template import MODES
from apis_core.converter.driver_contract import Refused
from apis_core.model.messages import ConverterOperation, ConverterOrder
from apis_core.model.types import Alarm, ConverterMode
from apis_emulator.orders import command, read_converter
from apis_emulator.physics.converter import Converter
from apis_emulator.physics.plant import Installation, Plant
from apis_emulator.profiles.series import Series
from apis_emulator.wires import wires
from apis_site.grid import Bus, Lines, Physics, UnitEntry, street_position_m

__all__ = ["FullEmulation"]

HOUR_S = 3600.0
# The original's programs order, get an answer, and look three times at 0.1 s each: a converter
# that moves 40 V or 2.3 A must be there by then. [est]
PHYSICS = Physics(
    bus=Bus(ramp_up_v_per_s=200.0, ramp_down_v_per_s=200.0, current_slew_a_per_s=10.0)
)
_THERE_V, _THERE_A = 0.1, 0.01
_MODE_OF = {
    "0x0000": ConverterMode.WAIT,
    "0x0002": ConverterMode.DISCHARGE,
    "0x0014": ConverterMode.VOLTAGE_REFERENCE,
    "0x0041": ConverterMode.CHARGE,
}
_CODE_OF = {mode: code for code, mode in _MODE_OF.items()}
_ALARMS = {Alarm.NONE: "No alarm", Alarm.LIGHT: "Light alarm", Alarm.HEAVY: "Heavy alarm"}


@dataclass
class FullEmulation(Emulation):
    """Units with the full physics; see the module's text.

    Args:
        physics: The constants.
    """

    physics: Physics = PHYSICS

    is_divisible: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._plant = self._empty_plant()

    def _empty_plant(self) -> Plant:
        physics = self.physics
        return Plant(
            {}, physics.bus, house_model=physics.house_model, battery_cells=physics.battery_cells
        )

    # --- time ------------------------------------------------------------------------------------

    def step(self, parts: int = 1) -> None:
        """Let `acceleration` seconds pass, or the so manieth part of them."""
        self.version += 1
        before, step_s = self.now.date(), self.acceleration / parts
        self._plant.step(step_s)
        self.time_s = round(self.time_s + step_s, 6)
        self._show_all()
        for unit in self.units.values():
            self.accounts.add(unit, step_s / HOUR_S)
        if self.now.date() > before:
            self.accounts.close_day(before, [u.emu["rsoc"] for u in self.units.values()])

    def ramp(self, now_s: float) -> None:
        """Nothing: the bus rises by simulated time."""

    def is_there(self, unit_id: str) -> bool:
        """Whether a converter is where it was told to be. What starts a dead bus is not waited
        for: whoever orders it watches the voltage.

        Raises:
            NotFound: There is no such unit.
        """
        self.unit(unit_id)
        unit = self._plant.units[unit_id]
        converter = unit.converter
        if not converter.is_active:
            return True
        if converter.is_reference:
            left_v = converter.voltage_setpoint_v - converter.regulated_v
            return abs(left_v) <= _THERE_V or unit.bus_v < self._plant.bus.under_voltage_trip_v
        left_a = converter.current_setpoint_a - abs(converter.current_a)
        return abs(left_a) <= _THERE_A

    # --- what it is told -------------------------------------------------------------------------

    def add_unit(self) -> None:
        """Add a unit under the next id.

        Raises:
            BadRequest: There is no load for it.
        """
        super().add_unit()
        number, unit_id = len(self.units), list(self.units)[-1]
        physics = self.physics
        self._plant.add(
            unit_id,
            Installation(
                capacity_wh=BATTERY_WH,
                stored_wh=BATTERY_WH * self.units[unit_id].emu["rsoc"] / 100.0,
                converter=Converter(
                    loss=physics.converter_loss, bus=physics.bus, ratings=physics.converter
                ),
                solar=self._from_now(self.inputs.solar_year_w),
                load=self._from_now(self.inputs.load_year_w(number)),
            ),
        )
        self._string_lines()
        self._show_all()

    def remove_unit(self) -> None:
        """Remove the last unit.

        Raises:
            BadRequest: It is the only one, or its converter is on.
        """
        unit_id = list(self.units)[-1]
        if self._plant.units[unit_id].converter.is_active:
            raise BadRequest(f"the converter of {unit_id} must be in WAIT first")
        super().remove_unit()
        self._plant.remove(unit_id)
        self._string_lines()

    def reset(self) -> None:
        """Everything as at the start, with as many units as there are now."""
        self._plant = self._empty_plant()
        super().reset()

    def set_house(self, unit_id: str, values: Mapping[str, float]) -> None:
        """Set fields of a house: ``rsoc`` fills its battery, all others are shown until the next
        step.

        Raises:
            NotFound: There is no such unit.
            BadRequest: There is no such field, or the value does not fit.
        """
        super().set_house(unit_id, values)
        if "rsoc" in values:
            self._plant.units[unit_id].battery.stored_wh = BATTERY_WH * values["rsoc"] / 100.0

    def set_converter(
        self,
        unit_id: str,
        now_s: float,
        *,
        mode: str | None = None,
        voltage_v: float | None = None,
        current_a: float | None = None,
        droop_ratio: float | None = None,
        meters_w: tuple[float, float] | None = None,
    ) -> None:
        """Command a converter; what is None stays as it is. Arguments: see
        :meth:`apis_compat.emulator.model.Emulation.set_converter`.

        Raises:
            NotFound: There is no such unit.
            BadRequest: There is no such mode, or the converter refuses.
        """
        unit = self.unit(unit_id)
        if mode is not None and mode not in _MODE_OF:
            raise BadRequest(f"mode is {mode}, it must be one of {' '.join(MODES)}")
        self.version += 1
        dcdc = unit.dcdc
        told = {
            "dvg": dcdc["vdis"]["dvg"] if voltage_v is None else voltage_v,
            "drg": dcdc["vdis"]["drg"] if droop_ratio is None else droop_ratio,
            "dig": dcdc["param"]["dig"] if current_a is None else current_a,
        }
        wanted = None if mode is None else _MODE_OF[mode]
        for order in self._orders(unit_id, wanted, told):
            try:
                command(self._plant, unit_id, order)
            except Refused as refused:
                raise BadRequest(str(refused)) from None
        if wanted is ConverterMode.WAIT:  # at once, as the original's converters do
            self._plant.units[unit_id].converter.finish()
        dcdc["vdis"].update(dvg=float(told["dvg"]), drg=told["drg"])
        dcdc["param"]["dig"] = told["dig"]
        self._show_all()
        if meters_w is not None:
            dcdc["powermeter"].update(p1=meters_w[0], p2=meters_w[1])

    def _orders(
        self, unit_id: str, wanted: ConverterMode | None, told: Mapping[str, float]
    ) -> list[ConverterOrder]:
        """What brings the converter where it is told to be; settings of one that is off are only
        remembered.
        """
        converter = self._plant.units[unit_id].converter
        now = converter.mode
        wanted = now if wanted is None else wanted
        is_reference = wanted is ConverterMode.VOLTAGE_REFERENCE
        if wanted is ConverterMode.WAIT:
            order = ConverterOrder(operation=ConverterOperation.MODE, mode=wanted)
            return [order] * converter.is_active
        if wanted is not now:
            operation = ConverterOperation.MODE
        else:
            operation = ConverterOperation.VOLTAGE if is_reference else ConverterOperation.CURRENT
        return [
            ConverterOrder(
                operation=operation,
                mode=wanted,
                grid_voltage_v=told["dvg"] if is_reference else None,
                droop_ratio=told["drg"] if is_reference else 0.0,
                # `dig` of a voltage reference is no limit in the original
                grid_current_a=None if is_reference else told["dig"],
            )
        ]

    # --- the whole state -------------------------------------------------------------------------

    def load(self, saved: Saved) -> None:
        """Take a state over: what batteries hold, switches, and the time; converters are off."""
        self.version += 1
        self._plant = self._empty_plant()
        self.units.clear()
        if saved.time_s is not None:
            self.time_s = saved.time_s
        charging = saved.is_ac_charging or frozenset()
        for _ in saved.units:
            self.add_unit()
        for unit_id, document in saved.units.items():
            self.units[unit_id].document.update(copy.deepcopy(document))
            plant_unit = self._plant.units[unit_id]
            emu = document["emu"]
            plant_unit.battery.stored_wh = BATTERY_WH * emu["rsoc"] / 100.0
            plant_unit.native.is_bypass = float(emu["ups_operation_mode"]["mode"] == 5)
            plant_unit.native.is_ac_charging = float(unit_id in charging)
            if self.units[unit_id].mode != WAITING:
                self._show(unit_id, self.units[unit_id])

    # --- inside ----------------------------------------------------------------------------------

    def _from_now(self, values: FloatArray) -> Series:
        """A year of hourly values, for a plant whose time began at another one."""
        began_s = self.time_s - self._plant.time_s
        return Series(values, step_s=HOUR_S, origin_s=-float(began_s))

    def _string_lines(self) -> None:
        """The shortest tree of copper along the street."""
        houses = [
            UnitEntry(id=unit_id, hardware="-", scenario="-", position_m=street_position_m(index))
            for index, unit_id in enumerate(self._plant.units)
        ]
        self._plant.set_lines(wires(houses, Lines()))

    def _show_all(self) -> None:
        text = f"{self.now:%Y/%m/%d-%H:%M:%S}"
        for unit_id, unit in self.units.items():
            if unit_id in self._plant.units:
                unit.document["time"] = text
                self._show(unit_id, unit)

    def _show(self, unit_id: str, unit: Unit) -> None:
        """Bring what the interface shows of a unit up to date."""
        real, emu, dcdc = self._plant.units[unit_id], unit.emu, unit.dcdc
        flow, native = real.flow, real.native
        emu.update(
            rsoc=100.0 * real.battery.soc_ratio,
            battery_rsoc=100.0 * real.battery.soc_ratio,
            battery_voltage=real.battery.voltage_v,
            battery_current=real.battery.current_a,
            charge_discharge_power=abs(flow.battery_w),
            pvc_charge_power=flow.solar_w,
            ups_output_power=flow.load_w,
        )
        emu["ups_operation_mode"]["mode"] = 5 if native.is_bypass else 2
        unit.is_bypass, unit.is_ac_charging = bool(native.is_bypass), bool(native.is_ac_charging)
        unit.ac_loss_w, unit.dc_loss_w = native.ac_loss_w, native.dc_loss_w + flow.battery_loss_w
        unit.wasted_w = flow.solar_available_w - flow.solar_w
        reading = read_converter(self._plant, unit_id)
        code = _CODE_OF[reading.mode]
        dcdc["status"].update(MODES[code], status=code, alarmState=_ALARMS[reading.alarm])
        dcdc["powermeter"]["p2"] = flow.mains_w
        dcdc["meter"].update(
            vg=reading.grid_voltage_v,
            ig=reading.grid_current_a,
            wg=reading.grid_power_w,
            vb=reading.battery_voltage_v,
            ib=reading.battery_current_a,
            wb=reading.battery_power_w,
            tmp=reading.converter_temp_degc,
        )
