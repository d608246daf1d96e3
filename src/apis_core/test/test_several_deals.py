"""Several deals at once, in the village: whole agents, a plain plant, a slow network."""

from __future__ import annotations

import pytest
from village import Village

from apis_core.events import DealClosed, DealWanted, Received
from apis_core.messages import Deal, OperationModeOrder
from apis_core.types import ConverterMode, DealState, DealType, OperationMode

SOCS = {"E001": 0.9, "E002": 0.5, "E003": 0.5, "E004": 0.9}
CAPACITY_A = 2.3
M = ConverterMode


class Market(Village):
    """A village whose operators want deals, each of 1 A; converters carry two of them."""

    def __init__(self, socs=SOCS, **changes) -> None:
        fields = {"deal_current_a": 1.0, "operation_mode": OperationMode.SOFT_STOP, **changes}
        super().__init__(socs, **fields)
        self.references: list[str] = []
        self.worst_reference_a = 0.0
        self.watchers.append(Market._watch)
        self.run_for(10.0)

    def _watch(self) -> None:
        on = [i for i, p in self.plants.items() if p.reading.mode is M.VOLTAGE_REFERENCE]
        stiff = [i for i in on if not self.plants[i].reading.droop_ratio]
        assert len(stiff) <= 1, "two hold the voltage without droop"
        if len(on) == 1 and self.references[-1:] != on:
            self.references += on
        for unit_id in on:
            current_a = abs(self.plants[unit_id].reading.grid_current_a or 0.0)
            self.worst_reference_a = max(self.worst_reference_a, current_a)

    def want(self, giver: str, taker: str, energy_wh: float, after_s: float = 30.0) -> str:
        deal_id = f"{giver}-{taker}-{energy_wh:g}"
        self.feed(
            giver,
            DealWanted(
                deal_id=deal_id,
                peer_unit_id=taker,
                type=DealType.DISCHARGE,
                energy_wh=energy_wh,
                current_a=1.0,
            ),
        )
        self.run_for(after_s)
        return deal_id

    def state(self, deal_id: str) -> DealState:
        return self.deals[deal_id].state

    def finish(self) -> dict[str, Deal]:
        all_over = self.run_until(
            lambda: all(deal.state.is_over for deal in self.deals.values()), 3_000.0
        )
        assert all_over, "\n".join(self.trace[-40:])
        self.run_for(60.0)
        assert self.modes() == {M.WAIT}
        return self.deals

    def must_balance(self) -> None:
        """All agreed energy came, nothing hung on the reference, and the journals say the same."""
        for deal in self.finish().values():
            assert deal.state is DealState.COMPLETED, deal.reason
            assert deal.moved_wh == pytest.approx(deal.energy_wh, rel=2e-3)
            sent_wh, taken_wh = (self.counted_wh(unit, deal) for unit in sides(deal))
            assert sent_wh == pytest.approx(taken_wh, rel=0.02)
        assert self.worst_reference_a <= CAPACITY_A

    def counted_wh(self, unit_id: str, deal: Deal) -> float:
        (entry,) = (
            record.entry
            for record in self.journals[unit_id]
            if isinstance(record.entry, DealClosed)
            and record.entry.receipt.deal_id == deal.deal_id
        )
        return entry.receipt.grid_moved_wh


def sides(deal: Deal) -> tuple[str, str]:
    return deal.discharge_unit_id, deal.charge_unit_id


def test_7_two_deals_share_the_voltage_reference():
    market = Market()
    market.want("E001", "E002", 30.0)
    market.want("E004", "E002", 20.0)
    assert market.plants["E002"].reading.grid_current_a == pytest.approx(2.0)
    market.must_balance()
    assert market.references == ["E002"]


def test_7_two_deals_share_a_unit_that_holds_a_current():
    market = Market()
    market.want("E001", "E002", 30.0)
    market.want("E001", "E003", 20.0)
    assert market.plants["E001"].reading.grid_current_a == pytest.approx(-2.0)
    assert market.plants["E002"].reading.grid_current_a == pytest.approx(1.0)
    market.must_balance()


def test_7_a_pair_deals_beside_the_reference_and_does_not_burden_it():
    market = Market()
    market.want("E001", "E002", 30.0)
    market.want("E004", "E003", 20.0)
    assert market.plants["E002"].reading.grid_current_a == pytest.approx(1.0)
    market.must_balance()
    assert market.worst_reference_a < 1.5  # also while the pair starts and stops


@pytest.mark.parametrize("kind", ["theoretical", "actual"])
def test_7_6_the_bus_is_handed_over_when_the_references_own_deal_ends_first(kind):
    market = Market(take_over_dvg=kind)
    market.want("E001", "E002", 20.0)
    market.want("E004", "E003", 30.0)
    market.must_balance()
    assert market.references == ["E002", "E003"]


def test_7_6_a_reference_with_another_deal_keeps_the_bus():
    market = Market()
    market.want("E001", "E002", 20.0)
    market.want("E004", "E002", 30.0)
    market.want("E004", "E003", 40.0)
    market.must_balance()
    assert market.references == ["E002", "E003"]


def test_7_2_a_large_unit_that_joins_takes_the_bus_over():
    market = Market(large_capacity_unit_ids=("E004",))
    market.want("E001", "E002", 30.0)
    market.want("E004", "E003", 30.0)
    market.must_balance()
    assert market.references == ["E002", "E004"]


def test_10_2_what_the_bus_cannot_carry_waits():
    market = Market(total_deal_current_max_a=1.5)
    market.want("E001", "E002", 20.0)
    waiting = market.want("E004", "E003", 20.0)
    assert market.state(waiting) is DealState.QUEUED
    market.must_balance()


def test_w26_a_deal_that_is_aborted_leaves_the_others_flowing():
    market = Market()
    kept = market.want("E001", "E002", 30.0)
    ended = market.want("E001", "E003", 30.0)
    order = OperationModeOrder(unit_id="E003", mode=OperationMode.FORCE_STOP)
    market.feed("E003", Received(order))
    assert market.run_until(lambda: market.state(ended).is_over, 30.0)
    assert market.state(kept) is DealState.RUNNING
    assert market.finish()[kept].state is DealState.COMPLETED


def test_a_reference_that_is_lost_ends_all_deals_and_nothing_stays_on():
    market = Market()
    market.want("E001", "E002", 30.0)
    market.want("E004", "E003", 30.0)
    market.kill("E002")
    ended = market.finish().values()
    assert {deal.state for deal in ended} == {DealState.ABORTED}
    assert all(deal.reason for deal in ended)


@pytest.mark.parametrize("seed", range(3))
def test_w5_all_deals_go_on_under_the_next_grid_master(seed):
    market = Market({**SOCS, "E005": 0.7}, seed=seed)
    market.want("E001", "E002", 30.0)
    market.want("E004", "E003", 30.0)
    (master,) = (i for i, agent in market.agents.items() if agent._office is not None)
    busy = {unit_id for deal in market.deals.values() for unit_id in deal.unit_ids}
    market.kill(master)
    market.run_for(40.0)
    market.start(master)
    ended = market.finish().values()
    if master not in busy:
        assert {deal.state for deal in ended} == {DealState.COMPLETED}
    assert {deal.grid_master_id for deal in ended} != {master}
