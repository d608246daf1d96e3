"""A TDK-Lambda EZA2500 without its line: registers in counts, over a converter of the plant.

It is a device, and does as it is told: whether an order is wise (a second voltage source, say) is
its driver's business. What it does at a stop: the real one is not documented to ramp, so it is off
at once, and a driver that wants a current to run down says so first.

Not documented either, and therefore a choice here: a heavy alarm stays, and every mode but WAIT is
refused, until the alarms are cleared (9-4); alarm word 1 has bit 14 for a trip and bit 0 for a
light alarm. The real one may have no watchdog of its communication; see ``silence_limit_s``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from apis_core.model.types import Alarm, ConverterMode, StopCause, UnitId
from apis_driver.codec import Block
from apis_driver.eza2500_protocol import table
from apis_emulator.orders import read_converter
from apis_emulator.physics.plant import Plant

__all__ = ["MODES", "NotNow", "SimulatedEza"]

MODES = {
    0x0000: ConverterMode.WAIT,
    0x0002: ConverterMode.DISCHARGE,
    0x0014: ConverterMode.VOLTAGE_REFERENCE,
    0x0041: ConverterMode.CHARGE,
}
CODES = {mode: code for code, mode in MODES.items()}
TRIPPED, WARNED = 0x4000, 0x0001  # of alarm word 1
RATING_Q = {"vgn": 6, "ign": 12, "vbn": 9, "ibn": 9, "wn": 3}
RATING_OF = {"vgn": "vg", "ign": "ig", "vbn": "vb", "ibn": "ib", "wn": "wg"}
# What a converter that has just got power holds; the driver writes its own.
COLD = {
    "cvb": 57.6,
    "drb": 0.0,
    "dvg": 350.0,
    "drg": 0.0,
    "pdz": 0.0,
    "mdz": 0.0,
    "cib": 52.08,
    "dig": 0.0,
    "ubv": 40.0,
    "ugv": 260.0,
    "obv": 62.0,
    "ogv": 410.0,
    "bcf": 3,
    "dlb": 49.0,
    "cdb": 1.2,
    "ddb": 1.8,
    "ccr": 0.0,
    "ddr": 0.0,
}


class NotNow(Exception):
    """An order that the converter does not accept in its present state."""


@dataclass
class SimulatedEza:
    """Registers of one converter.

    Not safe between threads: the owner of the plant locks it round every call.

    Attributes:
        plant: Where the converter stands.
        unit_id: Whose converter.
        silence_limit_s: When nothing has been said to it for so long (wall time), an active
            converter goes to WAIT by itself; None = it has no such watchdog. [s]
        last_heard_s: When something was said to it, by the caller's steady clock. [s]
    """

    plant: Plant
    unit_id: UnitId
    silence_limit_s: float | None = None
    last_heard_s: float = math.inf
    _held: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.power_up()

    def power_up(self) -> None:
        """Forget every setting, as after a loss of its supply."""
        fields = {f.name: f for c in table().commands.values() for f in c.request.fields}
        self._held = {name: fields[name].raw_of(value) for name, value in COLD.items()}

    def watch(self, now_s: float) -> bool:
        """The watchdog; returns whether it has just stopped the converter."""
        converter = self.plant.units[self.unit_id].converter
        if (
            self.silence_limit_s is None
            or not converter.is_active
            or now_s - self.last_heard_s < self.silence_limit_s
        ):
            return False
        self._switch_off(f"nothing was said to it for {self.silence_limit_s:g} s")
        return True

    # --- registers -------------------------------------------------------------------------------

    def read(self, block: Block) -> dict[str, int]:
        """Counts of the fields of a block."""
        every = {**self._held, **_CONSTANTS, **self._state(), **self._measured()}
        return {f.name: every[f.name] for f in block.fields}

    def write(self, raw: Mapping[str, int]) -> None:
        """Take the counts of a block, which are within their limits.

        Raises:
            NotNow: Nothing was changed.
        """
        if "mode" in raw:
            self._change_mode(MODES[raw["mode"]])
        elif "d0" in raw:
            self.plant.units[self.unit_id].converter.acknowledge()
        else:
            self._held.update(raw)
            self._apply()

    def value(self, name: str) -> float:
        """A setting as a value."""
        return _FIELDS[name].value_of(self._held[name])

    # --- inside ----------------------------------------------------------------------------------

    def _change_mode(self, mode: ConverterMode) -> None:
        converter = self.plant.units[self.unit_id].converter
        if mode is ConverterMode.WAIT:
            self._switch_off("")
            return
        if converter.alarm is Alarm.HEAVY:
            raise NotNow
        if mode is not converter.mode or converter.is_stopping:
            alarm = converter.alarm
            converter.start(mode, bus_v=self.plant.voltage_v, energy_limit_wh=None)
            converter.alarm = alarm  # a light one stays until it is cleared
        self._apply()

    def _apply(self) -> None:
        """Give the converter its settings, as far as its mode has a use for them."""
        converter = self.plant.units[self.unit_id].converter
        if not converter.is_active or converter.is_stopping:
            return
        converter.current_setpoint_a = self.value("dig")
        if converter.is_reference:
            converter.voltage_setpoint_v = self.value("dvg")
            converter.droop_ratio = self.value("drg")

    def _switch_off(self, why: str) -> None:
        converter = self.plant.units[self.unit_id].converter
        if converter.is_active:
            cause = StopCause.HOLD_EXPIRED if why else StopCause.NONE
            self.plant.stop(self.unit_id, cause, why)
            converter.finish()

    def _state(self) -> dict[str, int]:
        converter = self.plant.units[self.unit_id].converter
        running = 0
        if converter.mode is ConverterMode.VOLTAGE_REFERENCE:
            running = 1 if converter.current_a > 0.0 else 2
        elif converter.is_active:
            running = 1 if converter.mode is ConverterMode.CHARGE else 2
        alarm = {Alarm.LIGHT: 1, Alarm.HEAVY: 2}.get(converter.alarm, 0)
        word = {Alarm.LIGHT: WARNED, Alarm.HEAVY: TRIPPED}.get(converter.alarm, 0)
        return {
            "mode": CODES[converter.mode],
            "cst": running | alarm << 2,
            "ext": 0,
            "alm1": word,
            "alm2": 0,
            "alm3": 0,
        }

    def _measured(self) -> dict[str, int]:
        reading = read_converter(self.plant, self.unit_id)
        values = {
            "vg": reading.grid_voltage_v,
            "ig": reading.grid_current_a,
            "vb": reading.battery_voltage_v,
            "ib": reading.battery_current_a,
            "wg": reading.grid_power_w,
            "wb": reading.battery_power_w,
            "tmp": reading.converter_temp_degc,
            "ic": 0.0,
        }
        return {name: _counts(name, value or 0.0) for name, value in values.items()}


_FIELDS = {
    f.name: f for c in table().commands.values() for f in (*c.request.fields, *c.reply.fields)
}


def _counts(name: str, value: float) -> int:
    """Nearest counts of a measurement that fit its register."""
    number = _FIELDS[name]
    nearest = round(Fraction(value) / number.scale)
    return min(max(nearest, number.fits_least), number.fits_most)


def _constants() -> dict[str, int]:
    """What a converter says of itself and never changes."""
    raw = {"d0": 0, "d1": 0, "min": 4, "maj": 1, "ts": 25, "tp": 25, "v5s": 5 << 10}
    raw |= {f"fan{number}": 1200 for number in range(1, 6)}
    for block in ("10-1", "11-1"):
        for number in table()[block].reply.fields:
            name = number.name.replace("fan", "fn").replace("v5s", "v5")
            raw[f"{name}q"] = number.spec.q or 0
    for name, q in RATING_Q.items():
        raw[name] = round(Fraction(_FIELDS[RATING_OF[name]].spec.rating or 1) * 2**q)
        raw[f"{name}q"] = q
    return raw


_CONSTANTS = _constants()
