"""When a converter has got where an order wants it, by what it reads."""

from __future__ import annotations

from dataclasses import dataclass, field

from apis_core.model.types import ConverterMode
from apis_driver.device import DcdcStatus

__all__ = ["Arrival"]

_THERE_V, _THERE_A = 1.0, 0.05
_STILL_V, _STILL_A = 0.3, 0.02
_STILL_S = 0.3  # what has not moved for so long has come to its end, wherever that is


@dataclass(slots=True)
class Arrival:
    """The way of one converter to what it was ordered.

    Attributes:
        mode: Ordered.
        voltage_v: Ordered; only a voltage reference holds it. [V]
        current_a: Ordered; only a current source holds it, in the direction of its mode. [A]
        is_cold_start: The bus is dead. Whoever starts it watches the voltage, for that takes long.
    """

    mode: ConverterMode
    voltage_v: float
    current_a: float
    is_cold_start: bool = False
    _still_since_s: float | None = None
    _last: tuple[float, float] = field(default=(0.0, 0.0))

    def is_over(self, status: DcdcStatus, now_s: float) -> bool:
        """Whether there is nothing to wait for any more.

        Args:
            status: A reading that is younger than the order.
            now_s: Of a steady clock. [s]
        """
        is_wait = self.mode is ConverterMode.WAIT
        if status.mode is not self.mode:
            return not is_wait  # it does something else by now: it has stopped, or was stopped
        volts, amperes = status.grid_voltage_v, status.grid_current_a
        if is_wait or self.is_cold_start or volts is None or amperes is None:
            return True
        if self.mode is ConverterMode.VOLTAGE_REFERENCE:
            is_there = abs(volts - self.voltage_v) <= _THERE_V
        else:
            is_there = abs(abs(amperes) - self.current_a) <= _THERE_A
        return is_there or self._stands_still(volts, amperes, now_s)

    def _stands_still(self, volts: float, amperes: float, now_s: float) -> bool:
        """Droop, a limit, or an empty battery keep it somewhere else."""
        moved = abs(volts - self._last[0]) > _STILL_V or abs(amperes - self._last[1]) > _STILL_A
        if self._still_since_s is None or moved:
            self._still_since_s, self._last = now_s, (volts, amperes)
        return now_s - self._still_since_s >= _STILL_S
