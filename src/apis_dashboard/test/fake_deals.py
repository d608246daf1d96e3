"""Deals of an invented village, from the first word to the last."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import replace

from fake_houses import BUS_V

from apis_dashboard.grid_source import Outcome
from apis_dashboard.records import DealRecord, DealState, Mode

__all__ = ["FakeDeals"]

PHASES = (  # what a young deal goes through, and until what age [simulated s]
    (DealState.QUEUED, 10.0),
    (DealState.ACTIVATING, 20.0),
    (DealState.RAMPING_UP, 40.0),
    (DealState.STARTING, 50.0),
)


class FakeDeals:
    """The deals that are under way."""

    def __init__(self, unit_ids: list[str], chance: random.Random) -> None:
        self._ids = unit_ids
        self._random = chance
        self._count = 0
        self._futures: dict[str, Future[Outcome]] = {}
        self.running: list[DealRecord] = []

    @property
    def grid_master_id(self) -> str:
        """Who tells of them."""
        return self._ids[min(1, len(self._ids) - 1)]

    def begin_by_chance(
        self,
        free_ids: list[str],
        price: Callable[[str], tuple[float, bool]],
        *,
        now_s: float,
        is_wanted: bool,
    ) -> None:
        """Now and then, let the fullest battery give to the emptiest.

        Args:
            free_ids: Who may deal, the emptiest first.
            price: What a unit names.
            now_s: ROS time. [s]
            is_wanted: There is to be one now, unless there is one.
        """
        most = max(1, len(self._ids) // 10, min(len(self._ids) // 4, 5))
        often = 0.05 * max(1.0, len(self._ids) / 12)
        if (
            len(free_ids) < 2
            or len(self.running) >= most
            or (self._random.random() > often and not (is_wanted and not self.running))
        ):
            return
        energy_wh = self._random.choice((120.0, 180.0, 240.0))
        deal = self._new(free_ids[-1], free_ids[0], energy_wh, None, now_s)
        named = [price(unit_id)[0] for unit_id in (free_ids[-1], free_ids[0])]
        self.running.append(replace(deal, price_point_per_wh=round(sum(named) / 2.0, 1)))

    def begin_manual_deal(
        self,
        giver_id: str,
        taker_id: str,
        *,
        energy_wh: float,
        current_a: float | None,
        price_point_per_wh: float | None,
        now_s: float,
    ) -> tuple[str, Future[Outcome]]:
        """Begin a deal; give its id, and what tells how it ended."""
        deal = self._new(giver_id, taker_id, energy_wh, current_a, now_s)
        self.running.append(replace(deal, price_point_per_wh=price_point_per_wh))
        self._futures[deal.deal_id] = Future()
        return deal.deal_id, self._futures[deal.deal_id]

    def end(self, deal_id: str) -> None:
        """Let what has moved of a deal be all that it is about."""
        self.running = [
            replace(deal, energy_wh=max(deal.moved_wh, 0.1)) if deal.deal_id == deal_id else deal
            for deal in self.running
        ]

    def step(self, step_s: float, now_s: float, mode_of: Callable[[str], Mode]) -> None:
        """Let time pass; those that ended stay until :meth:`forget_ended`."""
        self.running = [self._advance(deal, step_s, now_s, mode_of) for deal in self.running]

    def forget_ended(self) -> None:
        """Drop the deals that are over."""
        self.running = [deal for deal in self.running if not deal.state.is_over]

    def of(self, unit_id: str) -> Iterable[DealRecord]:
        """Those of a unit."""
        sides = ((d, (d.discharge_unit_id, d.charge_unit_id)) for d in self.running)
        return [deal for deal, pair in sides if unit_id in pair]

    def committed_wh(self, unit_id: str) -> float:
        """What is still to come (+) or to go (-)."""
        return sum(
            (1.0 if deal.charge_unit_id == unit_id else -1.0) * (deal.energy_wh - deal.moved_wh)
            for deal in self.of(unit_id)
        )

    def currents_a(self) -> dict[str, float]:
        """What flows into each unit. [A]"""
        found = dict.fromkeys(self._ids, 0.0)
        for deal in self.running:
            if deal.state is DealState.RUNNING:
                found[deal.discharge_unit_id] -= deal.current_a
                found[deal.charge_unit_id] += deal.current_a
        return found

    def reference_id(self) -> str:
        """Who holds the voltage, as the oldest deal says; empty = nobody."""
        waiting = (DealState.QUEUED, DealState.ACTIVATING)
        under_way = (deal for deal in self.running if deal.state not in waiting)
        return next((deal.voltage_reference_id for deal in under_way), "")

    def _new(
        self, giver: str, taker: str, energy_wh: float, current_a: float | None, now_s: float
    ) -> DealRecord:
        self._count += 1
        return DealRecord(
            deal_id=f"fake-{self._count}",
            term=3,
            sequence=1,
            state=DealState.QUEUED,
            request_unit_id=taker,
            accept_unit_id=giver,
            discharge_unit_id=giver,
            charge_unit_id=taker,
            voltage_reference_id=giver if self._count % 2 else taker,
            grid_master_id=self.grid_master_id,
            energy_wh=energy_wh,
            current_a=current_a or self._random.choice((1.0, 1.5, 2.0)),
            created_at_s=now_s,
        )

    def _advance(
        self, deal: DealRecord, step_s: float, now_s: float, mode_of: Callable[[str], Mode]
    ) -> DealRecord:
        age_s = now_s - (deal.created_at_s or 0.0)
        deal = replace(deal, sequence=deal.sequence + 1, stamp_s=now_s)
        if mode_of(deal.discharge_unit_id) in (Mode.FORCE_STOP, Mode.MANUAL):
            reason = "the operator stopped the cluster"
            return self._ended(deal, DealState.ABORTED, reason, now_s)
        young = next((state for state, until_s in PHASES if age_s < until_s), None)
        if young is not None:
            return replace(deal, state=young)
        if deal.moved_wh >= deal.energy_wh:
            return self._ended(deal, DealState.COMPLETED, "", now_s)
        moved_wh = min(deal.moved_wh + BUS_V * deal.current_a * step_s / 3600.0, deal.energy_wh)
        return replace(
            deal,
            state=DealState.RUNNING,
            started_at_s=deal.started_at_s or now_s,
            moved_wh=moved_wh,
        )

    def _ended(self, deal: DealRecord, state: DealState, reason: str, now_s: float) -> DealRecord:
        future = self._futures.pop(deal.deal_id, None)
        if future is not None:
            words = reason or f"{deal.moved_wh:.1f} Wh moved"
            future.set_result(Outcome(state is DealState.COMPLETED, words))
        return replace(
            deal,
            state=state,
            reason=reason,
            sent_wh=1.03 * deal.moved_wh,
            received_wh=0.998 * deal.moved_wh,
            stopped_at_s=now_s,
            ended_at_s=now_s,
        )
