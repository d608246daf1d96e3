"""A village that exchanges energy, from event to event.

Each house lives by itself until its battery comes to an energy at which its unit would decide
otherwise. Each request is the core's: its trader asks, the others' traders answer, it chooses. A
request that nobody could answer is not made: its trader is told that it was in vain.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from apis_core.config.timing import Timing
from apis_core.events import Broadcast, Call, Send
from apis_core.model.messages import DealSubmission, InterchangeAccept, InterchangeRequest
from apis_core.model.types import Direction
from apis_core.model.units import SECOND_NS, ns_from_s
from apis_study.bus import Bus, BusTimes
from apis_study.events import EventHeap
from apis_study.trading_unit import TradingUnit
from apis_study.village import Village

__all__ = ["Exchange"]

_FARTHEST_S = 6 * 3600.0  # nobody looks further ahead at once
_GRAIN_NS = SECOND_NS // 2  # an edge is crossed so much later; the UPS may change over beside it
_NEVER_LEFT = float("inf")
_DIRECTIONS = tuple(Direction)
_NO_OFFER = object()


class Exchange:
    """The units of a village and their bus, in virtual time.

    Args:
        village: The houses.
        seed: Fixes all chance.
        step_s: How long sun and load are taken for constant. [s]
        times: How long the grid master's steps take; None = what follows from the village.
        timing: Of the units; None = what follows from the policy.

    Attributes:
        units: In the order of the houses.
        bus: What carries their deals.
        requests: How many requests were made that somebody could answer.
    """

    def __init__(
        self,
        village: Village,
        seed: int,
        step_s: float,
        times: BusTimes | None = None,
        timing: Timing | None = None,
    ) -> None:
        policy = village.policy
        timing = Timing.of(policy) if timing is None else timing
        self.requests = 0
        self._village = village
        self._heap = EventHeap()
        self._reservation_ns = timing.reservation_ns
        self.units = tuple(
            TradingUnit(
                index,
                house.unit_id,
                run,
                house.hardware,
                house.scenario,
                policy,
                timing,
                Random(f"{seed}/{house.unit_id}"),
            )
            for index, (house, run) in enumerate(
                zip(village.houses, village.runs(step_s), strict=True)
            )
        )
        self._by_id = {unit.id: unit for unit in self.units}
        self.bus = Bus(
            village,
            self._by_id,
            timing,
            BusTimes.of(village) if times is None else times,
            self._heap,
            self._look,
        )
        self._offers: dict[Direction, dict[int, TradingUnit]] = {d: {} for d in Direction}
        self._wishes: dict[Direction, dict[int, TradingUnit]] = {d: {} for d in Direction}
        for unit in self.units:
            self._heap.at(0, self._look, unit)

    @property
    def events(self) -> int:
        """How many events have happened."""
        return self._heap.count

    def run(self, until_s: float) -> None:
        """Let time pass until `until_s`, and bring every house there. [s]"""
        self._heap.run(ns_from_s(until_s))
        for unit in self.units:
            unit.run.advance(until_s)
        self.bus.settle()

    # --- a unit ----------------------------------------------------------------------------------

    def _look_when(self, unit: TradingUnit, version: int) -> None:
        if version == unit.look_version:
            unit.run.advance(self._heap.now_s)
            if unit.flows:
                self.bus.check_charge(unit)
            self._look(unit)

    def _look(self, unit: TradingUnit) -> None:
        """Something may have changed for a unit: what it would do, and when that changes next."""
        now_ns, now_s = self._heap.now_ns, self._heap.now_s
        unit.run.advance(now_s)
        if now_s >= unit.section_ends_s:
            unit.enter_section(now_s, self._village.seconds_of_day(now_s))
        expected_wh = unit.expected_wh(now_ns)
        is_other_band = unit.take_attitude(expected_wh)
        unit.is_attitude_free = not unit.interlock.is_used
        if is_other_band:
            unit.pass_over(now_ns)
            unit.trader.look_now(now_ns)
            self._disarm(unit)
        self._take_part(unit)
        self._plan_look(unit, expected_wh)

    def _take_part(self, unit: TradingUnit) -> None:
        """What the unit would ask for and accept now, with the slots that it has."""
        wish, offers = unit.present_wish(), unit.present_offers()
        if wish is not unit.wish:
            unit.pass_over(self._heap.now_ns)
            self._disarm(unit)
            if unit.wish is not None:
                del self._wishes[unit.wish][unit.index]
            unit.wish = wish
            if wish is not None:
                self._wishes[wish][unit.index] = unit
        if offers != unit.offers:
            self._offer(unit, offers)
        if wish is not None:
            self._arm(unit)

    def _plan_look(self, unit: TradingUnit, expected_wh: float) -> None:
        """When its battery comes to where it would do something else."""
        run, attitude = unit.run, unit.attitude
        unit.look_version += 1
        now_s = run.time_s
        until_s = min(now_s + unit.horizon_s, unit.section_ends_s)
        low_wh, high_wh = -_NEVER_LEFT, _NEVER_LEFT
        # with all slots taken it can neither ask nor accept, whatever its energy
        if attitude is not None and unit.has_slot:
            low_wh, high_wh = attitude.low_wh, attitude.high_wh
        rate_wh_per_s, floor_wh, ceiling_wh = 0.0, -_NEVER_LEFT, _NEVER_LEFT
        for flow in unit.flows:
            if not flow.is_flowing:
                continue
            until_s = min(until_s, flow.ends_s + 1.0)  # then its power is another one
            if flow.giver is unit:
                rate_wh_per_s += flow.rate_wh_per_s
                floor_wh = unit.least_wh
            else:
                rate_wh_per_s -= flow.rate_wh_per_s
                ceiling_wh = unit.most_wh
        committed_wh = expected_wh - run.stored_wh
        leaves_s = run.leaves_at(
            low_wh, high_wh, until_s, committed_wh, rate_wh_per_s, floor_wh, ceiling_wh
        )
        unit.horizon_s = min(2.0 * unit.horizon_s, _FARTHEST_S)
        look_ns = ns_from_s(leaves_s) + _GRAIN_NS
        self._heap.at(look_ns, self._look_when, unit, unit.look_version)

    # --- who could deal with whom ----------------------------------------------------------------

    def _offer(self, unit: TradingUnit, offers: Mapping[Direction, float | None]) -> None:
        before, unit.offers = unit.offers, offers
        for direction in _DIRECTIONS:  # in an order that no hash decides
            price = offers.get(direction, _NO_OFFER)
            if price == before.get(direction, _NO_OFFER):
                continue
            offering = self._offers[direction]
            if direction not in offers:
                del offering[unit.index]
                continue
            offering[unit.index] = unit
            wishing = self._wishes[direction.opposite]
            if price is not None or len(offering) == 1:  # nobody could answer until now
                for other in wishing.values():
                    if not other.is_armed:
                        self._arm(other)
            elif len(offering) == 2:  # nor to the one that offered alone
                for index in offering:
                    if index in wishing:
                        self._arm(wishing[index])

    def _could_deal(self, unit: TradingUnit) -> bool:
        if unit.wish is None:
            return False
        offering = self._offers[unit.wish.opposite]
        if unit.wish_price is None:
            return len(offering) > (unit.index in offering)
        return bool(self._answering(unit))

    def _answering(self, unit: TradingUnit) -> list[TradingUnit]:
        """Who would answer its request with an offer."""
        if unit.wish is None:
            return []
        direction, limit = unit.wish.opposite, unit.wish_price
        others = [other for other in self._offers[direction].values() if other is not unit]
        if limit is None:
            return others
        sign = 1.0 if unit.wish is Direction.CHARGE else -1.0
        prices = [other.offers[direction] for other in others]
        return [
            other
            for other, price in zip(others, prices, strict=True)
            if price is None or sign * price <= sign * limit
        ]

    def _arm(self, unit: TradingUnit) -> None:
        """Plan the unit's next request, if somebody could answer it."""
        if not unit.is_armed and self._could_deal(unit):
            unit.pass_over(self._heap.now_ns)
            unit.is_armed = True
            self._heap.at(unit.trader.wake_ns, self._ask, unit, unit.ask_version)

    def _disarm(self, unit: TradingUnit) -> None:
        if unit.is_armed:
            unit.is_armed = False
            unit.ask_version += 1

    # --- a request -------------------------------------------------------------------------------

    def _ask(self, unit: TradingUnit, version: int) -> None:
        if version != unit.ask_version:
            return
        self._disarm(unit)
        now_ns, now_s = self._heap.now_ns, self._heap.now_s
        peers = self._answering(unit)
        if not peers:
            return  # in vain; it is armed again when somebody could answer
        unit.run.advance(now_s)
        conditions = unit.conditions(now_ns, tuple([peer.id for peer in peers]))
        effects = unit.trader.tick(conditions, now_ns)
        request = next(
            (e.message for e in effects if isinstance(e, Broadcast)),
            None,
        )
        reserved: list[TradingUnit] = []
        if isinstance(request, InterchangeRequest):
            self.requests += 1
            for peer in peers:
                peer.run.advance(now_s)
                answer = peer.trader.hear_request(request, peer.conditions(now_ns), now_ns)
                for effect in answer:
                    if isinstance(effect, Send) and isinstance(effect.message, InterchangeAccept):
                        if effect.message.type is not None:
                            reserved.append(peer)
                        effects += unit.trader.hear_accept(effect.message, conditions, now_ns)
            if reserved:
                until_ns = now_ns + self._reservation_ns
                self._heap.at(until_ns, self._expire, reserved)
        for effect in effects:
            if isinstance(effect, Call) and isinstance(effect.request, DealSubmission):
                deal = effect.request.deal
                unit.trader.submission_answered(deal.deal_id, self.bus.submit(deal))
        self._look(unit)
        for peer in reserved:
            self._slots_changed(peer)

    def _slots_changed(self, unit: TradingUnit) -> None:
        """A slot was reserved, or has fallen back.

        With no slot it takes no part, whatever its attitude; with all of them free its attitude
        is what it was, if that was found with all of them free.
        """
        is_as_before = unit.is_attitude_free and not unit.interlock.is_used
        if is_as_before or not unit.has_slot:
            self._take_part(unit)
        else:
            self._look(unit)

    def _expire(self, units: list[TradingUnit]) -> None:
        """Slots that were reserved for a deal that did not come fall back."""
        for unit in units:
            expired = unit.interlock.expired(self._heap.now_ns)
            for deal_id in expired:
                unit.interlock.release(deal_id)
            if expired:
                self._slots_changed(unit)
