"""From need to current, in the cluster: what is acted on at once, and what nobody waits for."""

from __future__ import annotations

from dataclasses import replace

from deal_bench import DealBench
from grid_master_bench import GridMasterBench, deal, status
from simulated_cluster import SimulatedCluster

from apis_core.events import BatteryRead
from apis_core.model.messages import BatteryReading, ConverterOrder, ConverterReply
from apis_core.model.types import ControlOperation, ConverterMode, DealState, StopCause
from apis_core.model.units import NEVER_NS, SECOND_NS, s_from_ns

M = ConverterMode


def test_5_1_a_reading_in_another_band_leads_to_a_deal_at_once():
    socs = {"E001": 0.9, "E002": 0.65, "E003": 0.65}
    cluster = SimulatedCluster(socs, housekeeping_period_ns=600 * SECOND_NS)
    cluster.run_for(30.0)
    assert cluster.deals == {}
    cluster.plants["E002"].soc_ratio = 0.5  # short
    reading = BatteryReading(soc_ratio=0.5, seconds_of_day=s_from_ns(cluster.now_ns) % 86_400.0)
    cluster.feed("E002", BatteryRead(reading))
    assert cluster.run_until(lambda: bool(cluster.deals), 0.3)
    (deal,) = cluster.deals.values()
    assert deal.charge_unit_id == "E002"


class Slow(DealBench):
    """A bench whose buses take their time to go down, as real ones do; so do their references."""

    def _obey(self, unit_id: str, order: ConverterOrder) -> ConverterReply:
        plant = self.plants[unit_id]
        if order.mode is not M.WAIT or plant.reading.mode is not M.VOLTAGE_REFERENCE:
            return super()._obey(unit_id, order)
        plant.reading = replace(plant.reading, grid_voltage_setpoint_v=0.0)
        plant.hold_until_ns = NEVER_NS  # it goes down by itself
        return ConverterReply(reading=self._reading(plant))

    def _watch(self) -> None:
        super()._watch()
        for plant in self.plants.values():
            is_down = plant.reading.grid_voltage_setpoint_v == self.bus_v == 0.0
            if is_down and plant.reading.mode is M.VOLTAGE_REFERENCE:
                self._stop(plant, StopCause.NONE, "")


def test_7_6_slots_are_free_before_the_bus_is_down():
    """The next deal begins on a dead bus all the same."""
    bench = Slow()
    deal_id = bench.want("E001", "E002", 10.0)
    assert bench.run_until(lambda: bench.state(deal_id) is DealState.COMPLETED, 300.0)
    assert bench.bus_v > 200.0
    assert bench.plants["E002"].reading.mode is M.VOLTAGE_REFERENCE
    assert not any(unit.slot_directions for unit in bench.snapshots())
    next_id = bench.want("E004", "E003", 10.0, after_s=2.0)
    assert bench.state(next_id) is DealState.QUEUED
    assert bench.run_until(lambda: bench.plants["E002"].reading.mode is M.WAIT, 10.0)
    assert bench.run_until(lambda: bench.state(next_id) is DealState.COMPLETED, 300.0)
    assert bench.deals[next_id].voltage_reference_id == "E003"
    bench.run_for(30.0)
    assert bench.modes() == {M.WAIT}
    assert not any(unit.fault_codes for unit in bench.snapshots())


def test_7_6_a_new_grid_master_waits_for_a_bus_that_was_let_go(policy):
    """No unit has a slot for it any more, but one still holds the voltage."""
    bench = GridMasterBench(policy)
    for unit_id in ("E001", "E002", "E004"):
        mode = M.VOLTAGE_REFERENCE if unit_id == "E004" else M.WAIT
        bench.take(bench.master.hear_status(status(unit_id, mode), bench.now_ns))
    bench.locked(deal())
    orders = [call.request.operation for call in bench.calls]
    assert ControlOperation.VOLTAGE_REFERENCE not in orders
    assert bench.state() is DealState.QUEUED
    bench.take(bench.master.hear_status(status("E004"), bench.now_ns))
    (call,) = bench.calls
    assert (call.to, call.request.operation) == ("E002", ControlOperation.VOLTAGE_REFERENCE)
