"""The original's formulas. No thread, no clock: the caller says what time it is.

The state of a unit *is* the document that the HTTP interface shows, as in the original; only the
two switches of the UPS and the losses stand beside it. Signs and units are the original's: grid
current ``ig`` [A], grid power ``wg`` and battery side ``wb`` [W] are + into the unit, ``rsoc`` is
in percent and the only energy store, rounded to 0.01 % after every step.

One thing differs on purpose: a bad command changes nothing and takes no lock with it.

Size: the original has these formulas in one module, too, and is held beside it line by line.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, cast

from apis_compat.emulator.accounts import Accounts
from apis_compat.emulator.inputs import Inputs, r2
from apis_compat.emulator.template import MODES, unit_document

__all__ = [
    "ACCELERATION",
    "MAX_UNITS",
    "BadRequest",
    "Emulation",
    "NotFound",
    "Saved",
    "whole_if_it_is",
]

BATTERY_WH = 4800.0
BATTERY_V = 48
SYSTEM_LOSS_W = 17.5
WAITING_LOSS_W, DISCHARGE_LOSS_W, CHARGE_LOSS_W = 4.5, 55, 71  # also at zero power
INVERTER_LOSS_W, INVERTER_LOSS_RATIO = 129, 0.140
TRANSFORMER_LOSS_W, TRANSFORMER_LOSS_RATIO = 57, 0.027
BYPASS_LOSS_W, BYPASS_LOSS_RATIO = 67, 0.033
AC_CHARGE_W, AC_CHARGE_LOSS_W = 150, 10
BYPASS_ON, BYPASS_OFF = 30, 35  # [% rsoc]
AC_CHARGE_ON, AC_CHARGE_OFF = 20, 25

WAITING, REFERENCE, DISCHARGE, CHARGE = "0x0000", "0x0014", "0x0002", "0x0041"
START = datetime(2020, 1, 1)
RAMP_S = 120.0  # of emulated time, from 0 V to any voltage
RAMP_PERIOD_S = 1.0  # of wall time
ACCELERATION = (0.1, 10_000.0)
MAX_UNITS = 999


class BadRequest(Exception):
    """A parameter is wrong; nothing was changed."""


class NotFound(Exception):
    """There is no such unit."""


@dataclass(slots=True)
class Unit:
    """A unit.

    Attributes:
        document: What the interface shows, and the state.
        is_bypass: The mains feeds the load.
        is_ac_charging: The mains charges the battery.
        ac_loss_w: On the mains side. [W]
        dc_loss_w: On the battery side. [W]
        wasted_w: Sun that a full battery could not take. [W]; in the step in which it becomes full
            the overflow in Wh, as in the original.
        measured: From what its meters were computed last.
    """

    document: dict[str, Any]
    is_bypass: bool = False
    is_ac_charging: bool = False
    ac_loss_w: float = 0.0
    dc_loss_w: float = 0.0
    wasted_w: float = 0.0
    measured: tuple[object, ...] = ()

    @property
    def emu(self) -> dict[str, Any]:
        """The house."""
        return cast("dict[str, Any]", self.document["emu"])

    @property
    def dcdc(self) -> dict[str, Any]:
        """The converter."""
        return cast("dict[str, Any]", self.document["dcdc"])

    @property
    def is_full(self) -> bool:
        """Whether the battery takes no more, so that the sun is throttled."""
        return bool(self.emu["rsoc"] >= 100)

    @property
    def mode(self) -> str:
        """The converter's mode."""
        return str(self.dcdc["status"]["status"])


@dataclass(slots=True)
class _Ramp:
    """A bus voltage on its way up."""

    goal_v: int
    now_v: float
    step_v: float
    steps_left: int
    due_s: float


@dataclass(frozen=True, slots=True)
class Saved:
    """What a state file holds.

    Attributes:
        units: Document of every unit, in order of creation.
        time_s: Emulated time since the start; None if the file is of the original, which does not
            say. [s]
        is_ac_charging: Units that the mains charges; None as above.
    """

    units: Mapping[str, dict[str, Any]]
    time_s: float | None = None
    is_ac_charging: frozenset[str] | None = None


@dataclass
class Emulation:
    """All units of the original emulator.

    Attributes:
        inputs: Sun and load.
        acceleration: Emulated seconds that a step covers. [s]
        time_s: Emulated time since 2020-01-01 00:00:00. [s]
        is_over: The year of inputs has ended, and time stands still.
        version: Another number whenever anything that is shown may have changed.
    """

    inputs: Inputs
    acceleration: float = 10
    time_s: float = 0
    is_over: bool = False
    version: int = 0
    units: dict[str, Unit] = field(default_factory=dict)
    accounts: Accounts = field(default_factory=Accounts)
    _ramps: list[_Ramp] = field(default_factory=list)
    _house_version: int = 0  # another number whenever houses may have changed

    is_divisible: ClassVar[bool] = False  # whether a step may be made in parts

    # --- time ------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The emulated date and time."""
        return START + timedelta(seconds=self.time_s)

    def step(self, _parts: int = 1) -> None:
        """Let `acceleration` seconds pass; nothing happens after the year has ended."""
        if self.is_over:
            return
        self.version += 1
        self._house_version += 1
        hour = self.time_s / 3600
        self.is_over = not self.inputs.reach(hour)
        for number, unit in enumerate(self.units.values(), start=1):
            if not self.is_over:  # else it keeps its last value for a last step
                unit.emu["pvc_charge_power"] = self.inputs.solar_w(hour)
            unit.emu["ups_output_power"] = self.inputs.load_w(number, hour)
            _switch(unit)
            _flow(unit)
        before = self.now.date()
        self.time_s += self.acceleration
        text = f"{self.now:%Y/%m/%d-%H:%M:%S}"
        for unit in self.units.values():
            unit.document["time"] = text
            _charge(unit, self.acceleration)
            self.accounts.add(unit, self.acceleration / 3600)
        if self.now.date() > before:
            self.accounts.close_day(before, [u.emu["rsoc"] for u in self.units.values()])

    def ramp(self, now_s: float) -> None:
        """Let the bus rise by the steps that are due by the wall clock. [s]"""
        while due := [ramp for ramp in self._ramps if ramp.due_s <= now_s]:
            self.version += 1
            ramp = min(due, key=lambda ramp: ramp.due_s)
            if ramp.steps_left == 0:
                self._ramps.remove(ramp)
                self._measure()
                continue
            ramp.steps_left -= 1
            ramp.now_v += ramp.step_v
            ramp.due_s += RAMP_PERIOD_S
            for unit in self.units.values():
                unit.dcdc["meter"]["vg"] = int(ramp.now_v)

    def is_there(self, unit_id: str) -> bool:
        """Whether a converter is where it was told to be; the original does not wait for that.

        Raises:
            NotFound: There is no such unit.
        """
        self.unit(unit_id)
        return True

    # --- what it is told -------------------------------------------------------------------------

    def unit(self, unit_id: str) -> Unit:
        """A unit.

        Raises:
            NotFound: There is none of this id.
        """
        if unit_id in self.units:
            return self.units[unit_id]
        known = " ".join(self.units)
        raise NotFound(f"there is no unit {unit_id}; there are {known}")

    def add_unit(self) -> None:
        """Add a unit under the next id, with the values that every unit begins with.

        Raises:
            BadRequest: There is no load for it.
        """
        number = len(self.units) + 1
        if number > min(MAX_UNITS, self.inputs.houses):
            raise BadRequest(f"there is sun and load for {self.inputs.houses} units only")
        self.version += 1
        document = unit_document(number)
        self.units[document["oesunit"]["id"]] = Unit(document)

    def remove_unit(self) -> None:
        """Remove the last unit.

        Raises:
            BadRequest: It is the only one.
        """
        if len(self.units) == 1:
            raise BadRequest("this is the only unit; it stays")
        self.version += 1
        self.units.popitem()

    def reset(self) -> None:
        """Everything as at the start, with as many units as there are now."""
        self.version += 1
        count = len(self.units)
        self.units.clear()
        self._ramps.clear()
        self.accounts = Accounts()
        self.time_s, self.is_over = 0, False
        for _ in range(count):
            self.add_unit()

    def set_house(self, unit_id: str, values: Mapping[str, float]) -> None:
        """Set fields of a house; sun and load last until the next step.

        Raises:
            NotFound: There is no such unit.
            BadRequest: There is no such field, or the value does not fit.
        """
        emu = self.unit(unit_id).emu
        for name, value in values.items():
            if isinstance(emu.get(name), dict) or name not in emu:
                known = " ".join(key for key, old in emu.items() if not isinstance(old, dict))
                raise BadRequest(f"{name} is no field that can be set; these can: {known}")
            if name == "rsoc" and not 0.0 <= value <= 100.0:
                raise BadRequest(f"rsoc is {value:g}, it must be from 0 to 100 %")
        self.version += 1
        self._house_version += 1
        emu.update(values)

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
        """Command a converter; what is None stays as it is.

        Args:
            unit_id: Whose.
            now_s: Wall time, for the ramp. [s]
            mode: One of :data:`~apis_compat.emulator.template.MODES`.
            voltage_v: >= 0, cut to whole volts. [V]
            current_a: >= 0; the mode gives its direction. [A]
            droop_ratio: Stored and shown, no more.
            meters_w: Powermeter ``p1`` and ``p2``, until the next computation. [W]

        Raises:
            NotFound: There is no such unit.
            BadRequest: There is no such mode.
        """
        unit = self.unit(unit_id)
        if mode is not None and mode not in MODES:
            raise BadRequest(f"mode is {mode}, it must be one of {' '.join(MODES)}")
        self.version += 1
        if mode is not None:
            unit.dcdc["status"].update(MODES[mode], status=mode)
        if meters_w is not None:
            self._house_version += 1
            unit.dcdc["powermeter"].update(p1=meters_w[0], p2=meters_w[1])
        if droop_ratio is not None:
            unit.dcdc["vdis"]["drg"] = droop_ratio
        if current_a is not None:
            unit.dcdc["param"]["dig"] = current_a
        if voltage_v is None:
            self._measure()
            return
        goal_v = int(voltage_v)
        unit.dcdc["vdis"]["dvg"] = float(goal_v)
        begin_v = int(unit.dcdc["meter"]["vg"])
        steps = 0
        # A source that is off, a voltage that falls, and a high acceleration know no ramp.
        if unit.mode == REFERENCE and goal_v > begin_v and RAMP_S / self.acceleration > 1.0:
            steps = int(RAMP_S / self.acceleration * (goal_v - begin_v) / goal_v)
        if steps == 0:
            self._measure()
            return
        step_v = (goal_v - begin_v) / steps
        self._ramps.append(_Ramp(goal_v, float(begin_v), step_v, steps, now_s))
        self.ramp(now_s)

    # --- the whole state -------------------------------------------------------------------------

    def save(self) -> Saved:
        """The state, for a file."""
        return Saved(
            units=copy.deepcopy({i: unit.document for i, unit in self.units.items()}),
            time_s=self.time_s,
            is_ac_charging=frozenset(i for i, unit in self.units.items() if unit.is_ac_charging),
        )

    def load(self, saved: Saved) -> None:
        """Take a state over, checked by :func:`apis_compat.emulator.template.check_units`."""
        self.version += 1
        charging = saved.is_ac_charging
        self.units = {
            unit_id: Unit(
                copy.deepcopy(document),
                is_bypass=document["emu"]["ups_operation_mode"]["mode"] == 5,
                is_ac_charging=(
                    document["emu"]["rsoc"] <= AC_CHARGE_ON
                    if charging is None
                    else unit_id in charging
                ),
            )
            for unit_id, document in saved.units.items()
        }
        self._ramps.clear()
        if saved.time_s is not None:
            self.time_s, self.is_over = saved.time_s, False

    # --- the bus ---------------------------------------------------------------------------------

    def _measure(self) -> None:
        """Meters of all units at once: one ideal node, held by the first reference there is."""
        units = list(self.units.values())
        modes = [unit.document["dcdc"]["status"]["status"] for unit in units]
        holder = units[modes.index(REFERENCE)] if REFERENCE in modes else None
        voltage_v = holder.dcdc["vdis"]["dvg"] if holder else 0
        total_a = 0
        for unit, mode in zip(units, modes, strict=True):
            meter = unit.document["dcdc"]["meter"]
            meter["vg"] = voltage_v
            if holder is None or mode == WAITING:
                meter["ig"] = 0
            elif mode != REFERENCE:  # of two references the later keeps its current
                current_a = unit.dcdc["param"]["dig"]
                meter["ig"] = current_a if mode == CHARGE else -current_a
                total_a += meter["ig"]
        if holder:
            holder.dcdc["meter"]["ig"] = -total_a

        for index, (unit, mode) in enumerate(zip(units, modes, strict=True)):
            meter = unit.document["dcdc"]["meter"]
            inputs = (self._house_version, meter["vg"], meter["ig"], mode)
            if unit.measured == inputs and not unit.is_full:
                continue
            unit.measured = inputs
            # The original computes every house once for each unit, before and after its own
            # meter. Only where a full battery throttles the sun does that make a difference, and
            # the third time gives what the second gave.
            times = (min(index, 3), min(len(units) - index, 3)) if unit.is_full else (0, 1)
            _settle(unit, times[0])
            meter["wg"] = meter["ig"] * meter["vg"]
            meter["wb"] = meter["wg"] - _converter_loss_w(mode)
            meter["ib"] = round(meter["wb"] / BATTERY_V, 2)
            meter["vb"] = BATTERY_V
            _settle(unit, times[1])


def whole_if_it_is(number: float) -> float:
    """The number, as an int if it is whole: the interface shows 10, not 10.0."""
    return int(number) if float(number).is_integer() else number


def _settle(unit: Unit, times: int) -> None:
    for _ in range(times):
        _switch(unit)
        _flow(unit)


def _converter_loss_w(mode: str) -> float:
    if mode == WAITING:
        return WAITING_LOSS_W
    return CHARGE_LOSS_W if mode == CHARGE else DISCHARGE_LOSS_W


def _switch(unit: Unit) -> None:
    """UPS and charging from the mains, with hysteresis."""
    rsoc, ups = unit.emu["rsoc"], unit.emu["ups_operation_mode"]
    if rsoc <= BYPASS_ON:
        unit.is_bypass, ups["mode"] = True, 5
    if rsoc >= BYPASS_OFF:
        unit.is_bypass, ups["mode"] = False, 2
    if rsoc <= AC_CHARGE_ON:
        unit.is_ac_charging = True
    if rsoc >= AC_CHARGE_OFF:
        unit.is_ac_charging = False


def _flow(unit: Unit) -> None:
    """Losses, mains and battery power of a house."""
    emu, meter, mains = unit.emu, unit.dcdc["meter"], unit.dcdc["powermeter"]
    load_w, grid_w = emu["ups_output_power"], meter["wg"]
    unit.dc_loss_w = SYSTEM_LOSS_W + (grid_w - meter["wb"])
    unit.ac_loss_w = TRANSFORMER_LOSS_W
    if unit.is_bypass:
        ratio = BYPASS_LOSS_RATIO + TRANSFORMER_LOSS_RATIO
        unit.ac_loss_w += BYPASS_LOSS_W + ratio * load_w
        mains["p2"] = int(load_w + unit.ac_loss_w)
    else:
        unit.dc_loss_w += INVERTER_LOSS_W + INVERTER_LOSS_RATIO * load_w
        mains["p2"] = int(unit.ac_loss_w)
    if unit.is_ac_charging:
        unit.ac_loss_w += AC_CHARGE_LOSS_W
        mains["p2"] += AC_CHARGE_W + AC_CHARGE_LOSS_W

    drawn_w = load_w - grid_w + unit.dc_loss_w
    if unit.is_full and drawn_w < emu["pvc_charge_power"]:  # full: the sun is throttled
        emu["charge_discharge_power"] = 0
        unit.wasted_w = emu["pvc_charge_power"] - drawn_w
        emu["pvc_charge_power"] = r2(drawn_w)
        return
    unit.wasted_w = 0.0
    battery_w = (
        grid_w + emu["pvc_charge_power"] + mains["p2"] - load_w - unit.ac_loss_w - unit.dc_loss_w
    )
    emu["charge_discharge_power"] = r2(abs(battery_w))
    current_a = r2(emu["charge_discharge_power"] / BATTERY_V)
    emu["battery_current"] = math.copysign(current_a, battery_w if battery_w else -1.0)


def _charge(unit: Unit, step_s: float) -> None:
    """What a step does to the battery."""
    emu = unit.emu
    moved_wh = step_s * emu["charge_discharge_power"] / 3600
    left_wh = emu["rsoc"] * BATTERY_WH / 100
    left_wh += moved_wh if emu["battery_current"] > 0 else -moved_wh
    if left_wh < 0.0:
        emu["rsoc"] = 0.0
        unit.dcdc["powermeter"]["p2"] -= int(left_wh)  # Wh taken for W, as in the original
    elif left_wh > BATTERY_WH:
        emu["rsoc"] = 100.0
        unit.wasted_w = left_wh - BATTERY_WH  # likewise
    else:
        emu["rsoc"] = r2(left_wh * 100 / BATTERY_WH)
