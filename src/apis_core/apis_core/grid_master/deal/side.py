"""One of the two units of a deal, as the grid master knows it."""

from __future__ import annotations

from dataclasses import dataclass

from apis_core.converter.driver_contract import NO_CURRENT_A
from apis_core.converter.energy_limit import Sample
from apis_core.model.messages import ConverterReading
from apis_core.model.types import ConverterMode, Direction, StopCause, UnitId

__all__ = ["DealSide"]


@dataclass(slots=True, eq=False)
class DealSide:
    """A unit in one deal: what it was ordered, and what it has answered.

    Attributes:
        unit_id: The unit.
        direction: In which its current flows.
        share_a: What its converter is ordered for this deal, corrected once compensated.
            [A, > 0]
        sample: Its newest answer; None = there is none.
        earlier_sample: The answer before.
        ordered_ns: When it was given its last current; answers to older orders say nothing any
            more.
        heard_ns: Its last sign of life; None = none since the deal began.
        obeyed_ns: When it last did as it was told; None = never.
        limit_reached_ns: When its share was seen to have ended by itself; None = it has not.
        is_asked: Whether it may hold a slot for the deal.
        is_started: Whether it may carry a current for the deal.
        is_told_to_stop: Whether it has been told to, and may carry a current still.
        is_released: Whether it has given its slot back.
    """

    unit_id: UnitId
    direction: Direction
    share_a: float
    sample: Sample | None = None
    earlier_sample: Sample | None = None
    ordered_ns: int = 0
    heard_ns: int | None = None
    obeyed_ns: int | None = None
    limit_reached_ns: int | None = None
    is_asked: bool = False
    is_started: bool = False
    is_told_to_stop: bool = False
    is_released: bool = False

    @property
    def signed_share_a(self) -> float:
        """The current that the deal brings to the unit. [A, + = from the bus into the unit]"""
        return self.share_a if self.direction is Direction.CHARGE else -self.share_a

    @property
    def reading(self) -> ConverterReading | None:
        """The newest reading that tells of what was ordered last."""
        sample = self.sample
        return None if sample is None or sample.asked_ns < self.ordered_ns else sample.reading

    @property
    def soc_ratio(self) -> float | None:
        """The state of charge of its battery; None = it has not said."""
        return self.sample.reply.soc_ratio if self.sample else None

    @property
    def has_reached_limit(self) -> bool:
        """Whether its share ended by itself at its energy limit."""
        sample = self.sample
        return sample is not None and sample.reading.stop_cause is StopCause.ENERGY_REACHED

    @property
    def carries_current(self) -> bool:
        """Whether it carries what it was ordered, in the right direction."""
        reading = self.reading
        if reading is None or reading.mode is not self.direction.converter_mode:
            return False
        setpoint_a, current_a = reading.grid_current_setpoint_a, reading.grid_current_a
        if setpoint_a is None or current_a is None:
            return True  # a converter that does not say
        goal_a = setpoint_a if self.direction is Direction.CHARGE else -setpoint_a
        return abs(current_a - goal_a) <= NO_CURRENT_A

    def hear(self, sample: Sample) -> None:
        """It has answered; a latecomer tells of an older state and does not count."""
        newest = self.sample
        if newest is None or sample.asked_ns >= newest.asked_ns:
            if newest is not None:
                self.earlier_sample = newest
            self.sample = sample

    def has_stopped(self, since_ns: int) -> bool:
        """Whether it carries nothing for the deal any more, by an answer asked for since then."""
        sample = self.sample
        if sample is None or sample.asked_ns < since_ns:
            return False
        if sample.reply.deal_current_a > 0.0:
            return False
        reading = sample.reading
        current_a = abs(reading.grid_current_a or 0.0)
        if reading.mode is ConverterMode.WAIT:
            return current_a <= NO_CURRENT_A
        # what it still carries belongs to others, and it is at what they want
        return current_a <= (reading.grid_current_setpoint_a or 0.0) + NO_CURRENT_A
