"""One unit of a study: its house, its trader and its slots.

Size: what the event loop reads of a unit, many million times, stands in the unit itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING

from apis_core.config.hardware import Hardware
from apis_core.config.policy import Policy
from apis_core.config.scenario import Scenario, Section, section_at
from apis_core.config.timing import Timing
from apis_core.model.types import Direction, UnitId
from apis_core.trading.interlock import Interlock
from apis_core.trading.trader import Trader, TradingConditions
from apis_study.attitude import Attitude, AttitudeTable
from apis_study.valuer import HOUR_S, Valuer

if TYPE_CHECKING:
    import apis_control
    from apis_study.deal_flow import DealFlow

__all__ = ["FIRST_HORIZON_S", "GRID_MASTER_ID", "TradingUnit"]

NOTHING: Mapping[Direction, float | None] = {}  # no direction
FIRST_HORIZON_S = 900.0  # so far is looked ahead after a change of power
GRID_MASTER_ID = "grid_master"  # whoever leads: that changes nothing


class TradingUnit:
    """A unit: the core's trader and slots over a house that runs ahead to its next event.

    Args:
        index: Its place in the village.
        unit_id: Its id.
        run: Its house.
        hardware: What its converter can bear.
        scenario: When it asks and accepts.
        policy: Of the cluster.
        timing: Of all units.
        random: Of its own, so that other houses change nothing in what it draws.

    Attributes:
        section: The section of the scenario that holds.
        attitude: What it would do at its present energy.
        wish: What it asks for now; None = nothing, or it has no slot for it.
        offers: In which directions it would accept now, at which price; None = at any.
        flows: Its deals, from the locks to their release.
        current_a: What its deals bring it. [A, + = from the bus]
        deals: How many deals it has completed.
    """

    def __init__(
        self,
        index: int,
        unit_id: UnitId,
        run: apis_control.HouseRun,
        hardware: Hardware,
        scenario: Scenario,
        policy: Policy,
        timing: Timing,
        random: Random,
    ) -> None:
        self.index = index
        self.id = unit_id
        self.run = run
        self.hardware = hardware
        slots = int(hardware.grid_current_capacity_a / policy.deal_current_a + 1e-9)
        self.interlock = Interlock(slots)
        self.trader = Trader(
            unit_id=unit_id,
            policy=policy,
            timing=timing,
            interlock=self.interlock,
            random=random,
            now_ns=0,
        )
        self.least_wh = policy.discharge_soc_min_ratio * run.capacity_wh  # of a deal to give
        self.most_wh = policy.charge_soc_max_ratio * run.capacity_wh
        self.horizon_s = FIRST_HORIZON_S
        self.section: Section | None = None
        self.section_ends_s = 0.0
        self.attitude: Attitude | None = None
        self.is_attitude_free = False  # found with nothing agreed and nothing reserved
        self.wish: Direction | None = None
        self.offers = NOTHING
        self.flows: list[DealFlow] = []
        self.current_a = 0.0
        self.is_reference = False
        self.deals = 0
        self.sold_points = self.bought_points = 0.0
        self.is_armed = False  # its next look at the scenario is on the heap
        self.look_version = 0  # of what is on the heap for it
        self.ask_version = 0
        self._band = ""
        value = scenario.value
        self._valuer = None if value is None else Valuer(value, policy, run)
        self._scenario = scenario
        self._policy = policy
        self._tables: dict[int, AttitudeTable] = {}  # by where their sections begin
        self._table: AttitudeTable | None = None  # of the section that holds

    # --- the battery -----------------------------------------------------------------------------

    def enter_section(self, now_s: float, second_of_day: float) -> None:
        """Another part of the day has begun."""
        if self._valuer is not None:
            self._enter_hour(self._valuer, now_s, second_of_day)
            return
        sections = self._scenario.sections
        self.section = section_at(self._scenario, second_of_day)
        changes = [edge for s in sections for edge in (s.from_s, s.to_s, 86_400)]
        self.section_ends_s = now_s + min(e for e in changes if e > second_of_day) - second_of_day
        self.attitude = None
        self._band = ""
        self._table = None
        if self.section is not None:
            key = self.section.from_s
            if key not in self._tables:
                self._tables[key] = AttitudeTable(self.section, self._policy, self.id)
            self._table = self._tables[key]

    def _enter_hour(self, valuer: Valuer, now_s: float, second_of_day: float) -> None:
        """The value rule reckons anew every hour, from what its house has used in the last."""
        self.section_ends_s = now_s + HOUR_S - second_of_day % HOUR_S
        section = valuer.section(now_s, second_of_day)
        if section is self.section:
            return
        self.section = section
        self.attitude = None
        self._band = ""
        self._table = AttitudeTable(section, self._policy, self.id)

    def expected_wh(self, now_ns: int) -> float:
        """Energy in the battery once everything agreed has moved. [Wh]"""
        if not self.interlock.is_used:
            return self.run.stored_wh
        for flow in self.flows:
            slot = self.interlock.held(flow.deal.deal_id)
            if slot is not None:
                slot.energy_wh = flow.left_wh(now_ns)
        return self.run.stored_wh + self.interlock.committed_wh

    def conditions(self, now_ns: int, peer_ids: tuple[UnitId, ...] = ()) -> TradingConditions:
        """The facts by which the trader decides."""
        return TradingConditions(
            why_not="",
            section=self.section,
            expected_wh=self.expected_wh(now_ns),
            efficient_grid_voltage_v=None,
            grid_master_id=GRID_MASTER_ID,
            live_peer_ids=peer_ids,
        )

    def take_attitude(self, expected_wh: float) -> bool:
        """Know what it would do at this energy.

        Returns:
            Whether its charge has come into another band.
        """
        table = self._table
        if table is None:
            self.attitude = None
            return False
        attitude, stored_wh = self.attitude, self.run.stored_wh
        if attitude is None or not attitude.low_wh <= expected_wh < attitude.high_wh:
            attitude = self.attitude = table.at(expected_wh)
        is_same = attitude.low_wh <= stored_wh < attitude.high_wh
        band = attitude.band if is_same else table.at(stored_wh).band
        is_news = "" != self._band != band
        self._band = band
        return is_news

    @property
    def has_slot(self) -> bool:
        """Whether it could have one more deal."""
        return self.interlock.slots_left > 0

    # --- the trader ------------------------------------------------------------------------------

    @property
    def wish_price(self) -> float | None:
        """The price that it asks for or pays; None = any. [point/Wh]"""
        return self.attitude.wish_price if self.attitude is not None else None

    def present_wish(self) -> Direction | None:
        """What it would ask for now."""
        wish = self.attitude.wish if self.attitude is not None else None
        if wish is None or self.interlock.slots_left <= 0:
            return None
        if self.interlock.is_used and self.interlock.why_not(wish):
            return None
        return wish

    def present_offers(self) -> Mapping[Direction, float | None]:
        """What it would accept now."""
        accepts = self.attitude.accepts if self.attitude is not None else NOTHING
        if not accepts or self.interlock.slots_left <= 0:
            return NOTHING
        if not self.interlock.is_used:
            return accepts
        return {d: p for d, p in accepts.items() if not self.interlock.why_not(d)}

    def pass_over(self, now_ns: int) -> None:
        """Take the looks of its trader until now for made: nothing came of them."""
        self.trader.pass_over(now_ns, in_vain=self.wish is not None)
