"""What happened in a story: the plant at every instant, deals, faults and grid masters.

It looks where the invariants look, and judges nothing: in a story things are meant to go wrong.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from apis_core.model.messages import (
    ConverterOrder,
    ConverterReply,
    Deal,
    Fault,
)
from apis_core.model.types import ConverterMode, Direction, UnitId
from apis_emulator.physics.plant import Plant
from apis_simulator.gateways import SharedBatteries
from apis_simulator.invariants import Invariants, Limits
from apis_simulator.scenario_setup import Rules

__all__ = ["ENERGISED_V", "UP_V", "DealFacts", "Facts", "Probe", "UnitRecord"]

UP_V, ENERGISED_V, DEAD_V = 300.0, 100.0, 30.0
_NO_LIMITS = Limits(
    after_death=0.0,
    after_cut=0.0,
    after_end=0.0,
    after_jump=0.0,
    after_scram=0.0,
    reference_after_scram=0.0,
    after_lie=0.0,
    unwritten_wh=0.0,
    stray_wh=0.0,
    late_wh=0.0,
    unruled_wh=0.0,
)


class UnitRecord:
    """One unit's converter and battery at every instant of :attr:`Facts.times_s`."""

    def __init__(self) -> None:
        self.modes = array("b")
        self.current_a = array("d")
        self.droop_ratio = array("d")
        self.bus_v = array("d")
        self.soc_ratio = array("d")


@dataclass
class DealFacts:
    """What became of a deal by hand.

    Attributes:
        deal_id: Under which the units know it.
        told: What grid masters published of it, with the time. [s]
        refused: Why it did not come about; empty = nobody refused it.
        true_sent_wh: What the giver's converter really moved for it. [Wh]
        true_received_wh: The same of the taker's. [Wh]
    """

    deal_id: str
    told: list[tuple[float, Deal]] = field(default_factory=list)
    refused: str = ""
    refused_s: float = 0.0
    true_sent_wh: float = 0.0
    true_received_wh: float = 0.0


@dataclass
class Probe:
    """What the units knew at an instant that an expectation asks for."""

    modes: dict[UnitId, str] = field(default_factory=dict)
    slots: dict[UnitId, int] = field(default_factory=dict)


class Facts(Invariants):
    """Notes what happens, from the start of the story on; nothing is ever violated here.

    Attributes:
        times_s: Of the samples. [s of the story]
        records: By unit.
        deal_facts: Deals by hand, by id.
        faults: All that were told, with the time and by whom. [s]
        masters: When more than one unit believed to lead in one term, and how many.
        led: Whether anybody ever led.
    """

    def __init__(self, plant: Plant, rules: Rules) -> None:
        super().__init__(plant, rules, _NO_LIMITS)
        self._hardware = plant
        self.times_s = array("d")
        self.records = {unit_id: UnitRecord() for unit_id in plant.units}
        self.deal_facts: dict[str, DealFacts] = {}
        self.faults: list[tuple[float, Fault]] = []
        self.masters: list[tuple[float, int]] = []
        self.term_of: Callable[[UnitId], int] = lambda _: 0
        self.probes: dict[float, Probe] = {}
        self.epoch_s = float("inf")
        self._counted = {
            unit_id: (unit.converter.charged_wh, unit.converter.discharged_wh)
            for unit_id, unit in plant.units.items()
        }

    # --- the plant -------------------------------------------------------------------------------

    def step(self, now_s: float) -> None:
        """Note how everything stands."""
        self._count_deals()
        if now_s < self.epoch_s:
            return
        time_s = now_s - self.epoch_s
        for unit_id, unit in self._hardware.units.items():
            converter, record = unit.converter, self.records[unit_id]
            record.modes.append(converter.mode)
            record.current_a.append(converter.current_a)
            record.droop_ratio.append(converter.droop_ratio)
            record.bus_v.append(unit.bus_v)
            record.soc_ratio.append(unit.battery.soc_ratio)
        self.times_s.append(time_s)

    def _count_deals(self) -> None:
        """What a converter has moved is divided among its deals, by the currents agreed."""
        for unit_id, unit in self._hardware.units.items():
            now = (unit.converter.charged_wh, unit.converter.discharged_wh)
            before = self._counted[unit_id]
            if now == before:
                continue
            self._counted[unit_id] = now
            for direction, moved_wh in (
                (Direction.CHARGE, now[0] - before[0]),
                (Direction.DISCHARGE, now[1] - before[1]),
            ):
                self._divide(unit_id, direction, moved_wh)

    def _divide(self, unit_id: UnitId, direction: Direction, moved_wh: float) -> None:
        if moved_wh <= 0.0:
            return
        deals = [
            deal
            for deal in self.deals.values()
            if not deal.state.is_over and deal.direction_of(unit_id) is direction
        ]
        total_a = sum(deal.current_a for deal in deals)
        for deal in deals:
            facts = self.deal_facts.get(deal.deal_id)
            if facts is None:
                continue
            part_wh = moved_wh * deal.current_a / total_a
            if direction is Direction.CHARGE:
                facts.true_received_wh += part_wh
            else:
                facts.true_sent_wh += part_wh

    # --- what passes the borders -----------------------------------------------------------------

    def published(self, deal: Deal, now_s: float) -> None:
        """A grid master said how a deal stands."""
        before = self.deals.get(deal.deal_id)
        is_old = before is not None and (deal.term, deal.sequence) <= (
            before.term,
            before.sequence,
        )
        if not is_old:
            self.deals[deal.deal_id] = deal
        facts = self.deal_facts.setdefault(deal.deal_id, DealFacts(deal.deal_id))
        facts.told.append((now_s - self.epoch_s, deal))

    def believes(self, unit_id: UnitId, is_still: Callable[[UnitId], bool], now_s: float) -> None:
        """A unit believes that it is the grid master."""
        term = self.term_of(unit_id)
        leaders = [
            other
            for other in self.records
            if other == unit_id or (is_still(other) and self.term_of(other) == term)
        ]
        if now_s >= self.epoch_s and (not self.masters or self.masters[-1][1] != len(leaders)):
            self.masters.append((now_s - self.epoch_s, len(leaders)))

    # --- judged by nobody ------------------------------------------------------------------------

    def step_settled(self, now_s: float, deal_of: Callable[[UnitId], str]) -> None:
        """Expectations judge."""

    def check_balance(self) -> None:
        """A leak is in no balance."""

    def shares(self, unit_id: UnitId, slots: set[Direction], batteries: SharedBatteries) -> None:
        """Nobody shares a battery in a story."""

    def granted(self, unit_id: UnitId, term: int) -> None:
        """Expectations judge."""

    def commanded(self, unit_id: UnitId, order: ConverterOrder) -> None:
        """Expectations judge."""

    def obeyed(self, unit_id: UnitId, order: ConverterOrder, reply: ConverterReply) -> None:
        """Expectations judge."""

    # --- to read ---------------------------------------------------------------------------------

    def samples(self, from_s: float, to_s: float) -> Iterator[int]:
        """Indices of what holds from one time to another, the sample before the first included."""
        times = self.times_s
        first = 0
        low, high = 0, len(times)
        while low < high:  # the last sample at or before from_s
            middle = (low + high) // 2
            if times[middle] <= from_s:
                low = middle + 1
            else:
                high = middle
        first = max(low - 1, 0)
        for index in range(first, len(times)):
            if times[index] > to_s:
                return
            yield index

    def is_off(self, unit_id: UnitId, index: int, below_a: float) -> bool:
        """Whether a converter is in WAIT and carries next to nothing."""
        record = self.records[unit_id]
        return record.modes[index] == ConverterMode.WAIT and abs(record.current_a[index]) < below_a

    def highest_v(self, index: int) -> float:
        """The bus where it is highest."""
        return max((abs(record.bus_v[index]) for record in self.records.values()), default=0.0)

    def lowest_v(self, index: int) -> float:
        """The bus where it is lowest."""
        return min((abs(record.bus_v[index]) for record in self.records.values()), default=0.0)
