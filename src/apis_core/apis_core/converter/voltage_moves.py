"""How long the voltage that a unit holds may be off its setpoint, because it is being moved."""

from __future__ import annotations

from dataclasses import dataclass

from apis_core.model.messages import ControlRequest, ConverterReading
from apis_core.model.types import ControlOperation, ConverterMode
from apis_core.model.units import NEVER_NS, SECOND_NS

__all__ = ["MOVE_NS", "VoltageMoves"]

_Op = ControlOperation
MOVE_NS = 30 * SECOND_NS  # the longest that a move, or the way down, may take


@dataclass(slots=True)
class VoltageMoves:
    """Says while a voltage reference is on its way, so that nobody judges it; but not for ever.

    Attributes:
        winds_down: Whether it has obeyed its last WAIT, and no deal needs it on its way.
        shared_until_ns: Until when it may share the voltage with another unit, with droop;
            NEVER_NS = it shares it with nobody.
    """

    winds_down: bool = False
    shared_until_ns: int = NEVER_NS
    _masked_until_ns: int = 0
    _down_until_ns: int = 0

    def begin(self, until_ns: int) -> None:
        """The voltage is moved, or given to another unit, by then at the latest."""
        self._masked_until_ns = until_ns

    def hear_order(self, request: ControlRequest, now_ns: int) -> None:
        """Take an order: it may begin or end the time in which two units hold the voltage.

        A hand-over that nobody finishes is not left as it is. It has half the hold time of an
        order: its grid master gives a step less, and the next grid master is there by then.
        """
        if request.operation in (_Op.WILL_HAND_OVER, _Op.WILL_TAKE_OVER):
            self.shared_until_ns = now_ns + request.hold_ns // 2
        elif request.operation in (_Op.DID_HAND_OVER, _Op.DID_TAKE_OVER, _Op.VOLTAGE_REFERENCE):
            self.shared_until_ns = NEVER_NS

    def go_down(self, now_ns: int) -> None:
        """The bus goes down at the end."""
        self._down_until_ns = now_ns + MOVE_NS

    def hear_reading(self, reading: ConverterReading, allowance_v: float) -> None:
        """Take a reading: it may show that the move is over.

        Args:
            reading: The newest reading of the converter.
            allowance_v: How far the voltage may be from its setpoint. [V]
        """
        if reading.mode is not ConverterMode.VOLTAGE_REFERENCE:
            self.winds_down = False
        bus_v, setpoint_v = reading.grid_voltage_v, reading.grid_voltage_setpoint_v
        if bus_v is None or not setpoint_v or reading.droop_ratio:
            return  # while there is a droop, another unit may hold the bus, too
        if abs(bus_v - setpoint_v) <= allowance_v:
            self._masked_until_ns = 0

    def is_masked(self, now_ns: int) -> bool:
        """Whether the voltage is being moved or handed over."""
        return now_ns < self._masked_until_ns

    def is_going_down(self, now_ns: int) -> bool:
        """Whether the bus may still be on its way down."""
        return now_ns < self._down_until_ns
