"""Proving that nobody else holds the bus (the protocol, 8.6 and 7.8), in the cluster."""

from __future__ import annotations

import pytest
from deal_bench import DealBench

from apis_core.grid_master.bus_state import Stage
from apis_core.model.messages import ConverterOperation
from apis_core.model.types import ConverterMode, DealState
from apis_core.model.units import SECOND_NS

M = ConverterMode


class Held(DealBench):
    """A bus that another source holds as soon as it is up, for the first so many starts."""

    def __init__(self, times: int, **changes: object) -> None:
        self.times = times
        self.starts = 0
        self.tried: list[float] = []
        self._stage = Stage.OFF
        super().__init__(**changes)

    def _watch(self) -> None:
        super()._watch()
        units = self.agents.values()
        masters = [unit.grid_master for unit in units if unit.grid_master is not None]
        stage = masters[0].reference_stage if masters else Stage.OFF
        self.starts += stage is Stage.ACTIVATING and self._stage is not stage
        self._stage = stage
        if stage is Stage.AUTHORISING and self.starts <= self.times:
            self.bus_v = 350.0


def tried_v(bench: DealBench) -> list[float]:
    return [
        order.grid_voltage_v
        for _, order in bench.orders
        if order.operation is ConverterOperation.VOLTAGE and order.grid_voltage_v is not None
    ]


@pytest.mark.parametrize("seed", range(4))
def test_8_6_each_voltage_is_tried_once_and_the_nominal_one_is_last(seed):
    bench = DealBench(seed=seed, grid_voltage_step_v=100.0)
    bench.want("E001", "E002", 10.0)
    tried = tried_v(bench)
    assert len(tried) == len(set(tried)) == bench.policy.authorization_trials + 1
    assert tried[-1] == bench.bus_v == 350.0
    assert 350.0 not in tried[:-1]


@pytest.mark.parametrize("times", [1, 2, 3])
def test_7_8_a_bus_that_is_not_proven_is_brought_down_and_tried_again(times):
    bench = Held(times)
    deal_id = bench.want("E001", "E002", 10.0, after_s=0.0)
    seen = set()

    def is_over() -> bool:
        seen.add(bench.deals[deal_id].state if deal_id in bench.deals else None)
        return deal_id in bench.deals and bench.state(deal_id).is_over

    assert bench.run_until(is_over, 1_000.0)
    assert bench.starts == times + 1
    assert bench.state(deal_id) is DealState.COMPLETED
    assert bench.deals[deal_id].moved_wh == pytest.approx(10.0, rel=2e-3)
    resets = [line for line in bench.trace if f"resets deal {deal_id}" in line]
    assert len(resets) == times
    assert "another source holds it" in resets[0]


def test_7_8_once_too_often_and_the_deal_is_aborted():
    bench = Held(99)
    deal_id = bench.want("E001", "E002", 10.0, after_s=1.0)
    ended = bench.finish()[deal_id]
    assert bench.starts == bench.policy.deal_reset_limit + 1
    assert ended.state is DealState.ABORTED
    assert "another source holds it" in ended.reason
    assert not any(o.mode is M.DISCHARGE for _, o in bench.orders)  # no current was started


def test_7_8_a_deal_that_waits_gets_its_turn_when_the_first_one_is_reset_for_good():
    bench = Held(4)
    first = bench.want("E001", "E002", 10.0, after_s=1.0)
    second = bench.want("E004", "E003", 10.0, after_s=1.0)
    ended = bench.finish()
    assert ended[second].state is DealState.COMPLETED
    assert ended[first].state is DealState.ABORTED


def test_11_4_a_bus_that_never_ramps_up_is_a_fault_of_all():
    bench = DealBench(ramp_up_timeout_ns=30 * SECOND_NS)
    bench.watchers.append(lambda v: setattr(v, "bus_v", min(v.bus_v, 200.0)))
    deal_id = bench.want("E001", "E002", 10.0, after_s=10.0)
    assert bench.run_until(lambda: bench.state(deal_id).is_over, 60.0)
    assert bench.state(deal_id) is DealState.ABORTED
    assert "did not reach its voltage within 30 s" in bench.deals[deal_id].reason
    bench.run_for(1.0)
    assert all("bus_start_failed" in unit.fault_codes for unit in bench.snapshots())
    assert bench.run_until(lambda: bench.modes() == {M.WAIT}, 10.0)
    assert bench.want("E004", "E003", 10.0) not in bench.deals  # the bus is blocked for a while
