"""A cluster of agents: whole deals, and everything that may cut them short."""

from dataclasses import replace

import pytest
from deal_bench import DealBench
from simulated_cluster import SimulatedCluster

from apis_core.events import (
    Answer,
    DealClosed,
    DealOpened,
    DealUnwanted,
    DealWanted,
    Effect,
    JournalFailed,
    Received,
    RefuseDeal,
    RequestReceived,
)
from apis_core.model.messages import ControlRequest, ConverterOperation, OperationModeOrder
from apis_core.model.types import (
    ControlError,
    ControlOperation,
    ConverterMode,
    DealState,
    Direction,
    InterchangeError,
    OperationMode,
    StopCause,
)
from apis_core.model.units import SECOND_NS, s_from_ns

SOCS = {"E001": 0.9, "E002": 0.5, "E003": 0.7, "E004": 0.7}  # E001 has to give, E002 wants
ALL_WAIT = {ConverterMode.WAIT}
REFERENCE = ConverterMode.VOLTAGE_REFERENCE


def never_two_references(cluster: SimulatedCluster) -> None:
    modes = [plant.reading.mode for plant in cluster.plants.values()]
    assert modes.count(REFERENCE) <= 1, f"at {s_from_ns(cluster.now_ns)} s: {modes}"


def never_two_masters(cluster: SimulatedCluster) -> None:
    assert len(masters(cluster)) <= 1, f"at {s_from_ns(cluster.now_ns)} s: {masters(cluster)}"


def masters(cluster: SimulatedCluster) -> list[str]:
    return cluster.leaders()


def order_mode(cluster: SimulatedCluster, mode: OperationMode, unit_id: str = "") -> None:
    for to in list(cluster.agents):
        cluster.feed(to, Received(OperationModeOrder(unit_id=unit_id, mode=mode)))


def watched(**arguments: object) -> SimulatedCluster:
    cluster = SimulatedCluster(SOCS, **arguments)  # type: ignore[arg-type]
    cluster.watchers += [never_two_references, never_two_masters]
    return cluster


def running_deal(cluster: SimulatedCluster, *, for_s: float = 20.0) -> str:
    """Let time pass until a deal runs, and a little longer; its id."""
    is_running = lambda: any(d.state is DealState.RUNNING for d in cluster.deals.values())  # noqa: E731
    assert cluster.run_until(is_running, 120.0), "\n".join(cluster.trace)
    cluster.run_for(for_s)
    return next(d.deal_id for d in cluster.deals.values() if d.state is DealState.RUNNING)


def held_slots(cluster: SimulatedCluster) -> list[str]:
    return [deal.deal_id for unit in cluster.snapshots() for deal in unit.slot_deals]


def test_a_deal_moves_the_agreed_energy_and_leaves_nothing_on():
    cluster = watched()
    deal_id = running_deal(cluster)
    order_mode(cluster, OperationMode.SOFT_STOP)
    assert cluster.run_until(lambda: bool(cluster.completed()), 600.0)
    deal = cluster.deals[deal_id]
    assert (deal.discharge_unit_id, deal.charge_unit_id) == ("E001", "E002")
    assert deal.moved_wh == pytest.approx(deal.energy_wh, rel=1e-3)
    assert deal.received_wh == deal.moved_wh
    assert deal.sent_wh is not None
    assert deal.sent_wh > deal.received_wh  # the taker's converter loses some on its battery side
    cluster.run_for(10.0)
    assert cluster.modes() == ALL_WAIT
    assert held_slots(cluster) == []


def test_7_3_the_reference_comes_first_and_leaves_last():
    cluster = watched()
    running_deal(cluster)
    assert cluster.run_until(lambda: bool(cluster.completed()), 600.0)
    modes = [
        (unit_id, order.mode)
        for unit_id, order in cluster.orders
        if order.operation is ConverterOperation.MODE and unit_id in ("E001", "E002")
    ]
    first = modes.index(("E002", REFERENCE))
    assert modes[first : first + 4] == [
        ("E002", REFERENCE),
        ("E001", ConverterMode.DISCHARGE),
        ("E001", ConverterMode.WAIT),
        ("E002", ConverterMode.WAIT),
    ]


def test_both_units_journal_a_deal_before_it_has_an_effect_and_when_it_is_closed():
    cluster = watched()
    deal_id = running_deal(cluster)
    for unit_id in ("E001", "E002"):
        entries = [record.entry for record in cluster.journals[unit_id]]
        opened = [e for e in entries if isinstance(e, DealOpened) and e.deal.deal_id == deal_id]
        assert len(opened) == 1
    assert cluster.run_until(lambda: bool(cluster.completed()), 600.0)
    for unit_id in ("E001", "E002"):
        entries = [record.entry for record in cluster.journals[unit_id]]
        closed = [e for e in entries if isinstance(e, DealClosed)]
        assert [e.receipt.deal_id for e in closed] == [deal_id]
        assert closed[0].receipt.grid_moved_wh > 50.0


def test_6_soft_stop_lets_the_running_deal_finish_and_begins_no_other():
    cluster = watched()
    deal_id = running_deal(cluster)
    order_mode(cluster, OperationMode.SOFT_STOP)
    cluster.run_for(900.0)
    assert cluster.deals[deal_id].state is DealState.COMPLETED
    assert list(cluster.deals) == [deal_id]


def test_6_force_stop_ends_the_running_deal_orderly():
    cluster = watched()
    deal_id = running_deal(cluster)
    order_mode(cluster, OperationMode.FORCE_STOP)
    assert cluster.run_until(lambda: cluster.deals[deal_id].state.is_over, 30.0)
    assert cluster.deals[deal_id].state is DealState.ABORTED
    assert "force stop" in cluster.deals[deal_id].reason
    assert cluster.modes() == ALL_WAIT
    assert held_slots(cluster) == []


def test_6_a_local_force_stop_takes_one_unit_out_and_is_remembered():
    cluster = watched()
    deal_id = running_deal(cluster)
    order_mode(cluster, OperationMode.FORCE_STOP, "E001")
    assert cluster.run_until(lambda: cluster.deals[deal_id].state.is_over, 30.0)
    cluster.kill("E001")
    cluster.start("E001")
    cluster.run_for(120.0)
    assert cluster.snapshot("E001").mode is OperationMode.FORCE_STOP
    assert cluster.snapshot("E002").mode is OperationMode.RUN
    order_mode(cluster, OperationMode.RUN, "E001")
    assert cluster.run_until(lambda: bool(cluster.completed()), 900.0)


def test_6_a_unit_that_was_away_learns_the_global_mode_from_the_others():
    cluster = watched()
    cluster.run_for(10.0)
    cluster.kill("E004")
    order_mode(cluster, OperationMode.FORCE_STOP)
    cluster.run_for(10.0)
    cluster.start("E004")
    cluster.run_for(15.0)
    assert cluster.snapshot("E004").mode is OperationMode.FORCE_STOP


@pytest.mark.parametrize("seed", range(3))
def test_w5_a_lost_grid_master_is_replaced_and_its_deal_goes_on(seed: int):
    cluster = watched(seed=seed)
    deal_id = running_deal(cluster)
    (master,) = masters(cluster)
    cluster.kill(master)
    lost_ns = cluster.now_ns
    order_mode(cluster, OperationMode.SOFT_STOP)
    assert cluster.run_until(lambda: bool(masters(cluster)), 60.0)
    assert cluster.now_ns - lost_ns < 10 * SECOND_NS
    assert cluster.run_until(lambda: cluster.deals[deal_id].state.is_over, 900.0)
    deal = cluster.deals[deal_id]
    # unless it was a party: then the deal ends by its drivers' dead men
    is_party = master in deal.unit_ids
    assert deal.state is (DealState.ABORTED if is_party else DealState.COMPLETED)
    assert is_party or deal.grid_master_id != master
    cluster.run_for(30.0)
    assert cluster.modes() == ALL_WAIT
    cluster.start(master)
    cluster.run_for(10.0)
    order_mode(cluster, OperationMode.RUN)
    assert cluster.run_until(lambda: bool(cluster.completed()), 900.0)


@pytest.mark.parametrize("victim", ["E001", "E002"])
def test_w1_the_death_of_either_side_ends_the_deal_by_its_drivers_dead_man(victim: str):
    cluster = watched(seed=5)
    deal_id = running_deal(cluster)
    cluster.kill(victim)
    killed_ns = cluster.now_ns
    plant = cluster.plants[victim]
    assert cluster.run_until(lambda: plant.reading.mode is ConverterMode.WAIT, 30.0)
    assert plant.reading.stop_cause is StopCause.HOLD_EXPIRED
    assert cluster.now_ns - killed_ns <= 6 * SECOND_NS
    assert cluster.run_until(lambda: cluster.modes() == ALL_WAIT, 60.0)
    assert cluster.run_until(lambda: cluster.deals[deal_id].state.is_over, 200.0)
    survivor = {"E001": "E002", "E002": "E001"}[victim]
    assert cluster.run_until(lambda: not cluster.snapshot(survivor).slot_deals, 60.0)


def test_a_partition_leaves_at_most_one_master_and_heals():
    cluster = watched(seed=2)
    running_deal(cluster)
    (master,) = masters(cluster)
    cluster.lost = lambda sender, to: (sender == master) != (to == master)
    cluster.run_for(60.0)
    assert masters(cluster) != [master]
    assert cluster.modes() == ALL_WAIT or masters(cluster)
    cluster.lost = lambda _sender, _to: False
    done = len(cluster.completed())
    assert cluster.run_until(lambda: len(cluster.completed()) > done, 900.0)


def test_no_majority_no_master_no_deal():
    cluster = watched()
    cluster.lost = lambda _sender, _to: True
    cluster.run_for(120.0)
    assert masters(cluster) == []
    assert cluster.deals == {}
    assert cluster.modes() == ALL_WAIT


@pytest.mark.parametrize(
    ("master", "term_offset", "error"),
    [
        ("own", -1, ControlError.OLD_TERM),
        ("own", +1, ControlError.NOT_MY_GRID_MASTER),
        ("another", 0, ControlError.NOT_MY_GRID_MASTER),
    ],
)
def test_orders_of_an_older_term_or_of_somebody_else_have_no_effect(
    master: str, term_offset: int, error: ControlError
):
    cluster = watched()
    deal_id = running_deal(cluster)
    agent = cluster.agents["E001"]
    own = masters(cluster)[0]
    before = cluster.plants["E001"].reading
    request = ControlRequest(
        operation=ControlOperation.WAIT,
        grid_master_id=own if master == "own" else "E004" if own == "E003" else "E003",
        term=cluster.snapshot("E001").term + term_offset,
        deal_id=deal_id,
    )
    effects = agent.handle(RequestReceived("E009|x", request), cluster.now_ns)
    (answer,) = [effect for effect in effects if isinstance(effect, Answer)]
    assert answer.reply.error is error
    assert cluster.plants["E001"].reading.mode is before.mode


def test_a_stopping_process_leaves_its_converter_in_wait():
    cluster = watched()
    running_deal(cluster)
    for unit_id in SOCS:
        cluster.ask_to_stop(unit_id)
    assert cluster.run_until(lambda: cluster.stopped == set(SOCS), 20.0)
    assert cluster.modes() == ALL_WAIT


def test_what_was_counted_survives_the_process_but_for_the_last_twentieth():
    cluster = watched()
    deal_id = running_deal(cluster)
    cluster.run_for(120.0)
    flowed_wh = cluster.snapshot("E001").shares[deal_id].moved_wh
    assert flowed_wh > 10.0
    cluster.kill("E001")
    cluster.start("E001")
    (receipt,) = [
        record.entry.receipt
        for record in cluster.journals["E001"]
        if isinstance(record.entry, DealClosed)
    ]
    assert flowed_wh - 0.06 * 50.0 <= receipt.grid_moved_wh <= flowed_wh
    assert receipt.reason == "the unit was restarted"


def test_w17_a_restarted_unit_closes_what_it_was_part_of():
    cluster = watched()
    deal_id = running_deal(cluster)
    cluster.kill("E001")
    cluster.start("E001")
    cluster.run_for(1.0)
    closed = [
        record.entry.receipt
        for record in cluster.journals["E001"]
        if isinstance(record.entry, DealClosed)
    ]
    assert [(receipt.deal_id, receipt.reason) for receipt in closed] == [
        (deal_id, "the unit was restarted")
    ]
    assert cluster.plants["E001"].reading.mode is ConverterMode.WAIT


def test_w2_a_broken_hard_limit_stops_the_converter_without_asking():
    cluster = watched()
    deal_id = running_deal(cluster)
    plant = cluster.plants["E001"]
    plant.reading = replace(plant.reading, converter_temp_degc=70.0)
    assert cluster.run_until(lambda: plant.reading.mode is ConverterMode.WAIT, 2.0)
    assert cluster.run_until(lambda: cluster.deals[deal_id].state.is_over, 30.0)
    assert "converter_temp_out_of_range" in cluster.deals[deal_id].reason
    cluster.run_for(60.0)
    assert list(cluster.deals) == [deal_id]  # in quarantine while the fault lasts
    plant.reading = replace(plant.reading, converter_temp_degc=25.0)
    assert cluster.run_until(lambda: len(cluster.deals) > 1, 120.0)


def test_7_4_a_giver_below_its_limit_of_charge_ends_the_deal():
    cluster = watched(discharge_soc_min_ratio=0.895)
    deal_id = running_deal(cluster, for_s=1.0)
    assert cluster.run_until(lambda: cluster.deals[deal_id].state.is_over, 600.0)
    assert cluster.deals[deal_id].state is DealState.ABORTED
    assert "E001 is down to 89" in cluster.deals[deal_id].reason


def test_a_bus_that_somebody_else_holds_is_left_alone():
    cluster = watched(ramp_up_timeout_ns=30 * SECOND_NS)
    cluster.bus_v = 350.0
    cluster.watchers.append(lambda v: setattr(v, "bus_v", 350.0))
    cluster.run_for(120.0)
    assert [deal.state for deal in cluster.deals.values()][:1] == [DealState.ABORTED]
    assert "did not become free" in next(iter(cluster.deals.values())).reason
    assert all(order.mode is not REFERENCE for _, order in cluster.orders)


def test_the_same_seed_gives_the_same_trace():
    def trace(seed: int) -> list[str]:
        cluster = SimulatedCluster(SOCS, seed=seed)
        cluster.run_for(200.0)
        return cluster.trace

    assert trace(7) == trace(7)
    assert trace(7) != trace(8)


@pytest.mark.parametrize("seed", range(4))
def test_loss_and_crashes_leave_nothing_on_and_no_slot_held(seed: int):
    cluster = watched(seed=seed)
    random = cluster.random
    cluster.lost = lambda _sender, _to: random.random() < 0.1
    for _ in range(8):
        cluster.run_for(random.uniform(5.0, 60.0))
        unit_id = random.choice(list(SOCS))
        if unit_id in cluster.agents:
            cluster.kill(unit_id)
        else:
            cluster.start(unit_id)
    cluster.lost = lambda _sender, _to: False
    for unit_id in SOCS:
        if unit_id not in cluster.agents:
            cluster.start(unit_id)
    cluster.run_for(120.0)
    order_mode(cluster, OperationMode.SOFT_STOP)
    cluster.run_for(600.0)
    assert cluster.modes() == ALL_WAIT
    assert held_slots(cluster) == []
    assert all(deal.state.is_over for deal in cluster.deals.values())


def test_a_queued_deal_that_ends_leaves_the_running_one_alone():
    bench = DealBench(total_deal_current_max_a=1.5)  # a bus that carries one deal at a time
    running_id = bench.want("E001", "E002", 20.0)
    waiting_id = bench.want("E004", "E003", 20.0)
    assert bench.state(running_id) is DealState.RUNNING
    assert bench.state(waiting_id) is DealState.QUEUED
    order_mode(bench, OperationMode.FORCE_STOP, "E003")
    assert bench.run_until(lambda: bench.state(waiting_id).is_over, 30.0)
    assert bench.state(waiting_id) is DealState.ABORTED
    assert bench.run_until(lambda: bench.state(running_id).is_over, 900.0)
    assert bench.state(running_id) is DealState.COMPLETED


def want(cluster: SimulatedCluster, **changes: object) -> list[Effect]:
    """An operator asks E003 for a deal by hand; what its agent wants at once."""
    wanted = {"deal_id": "hand", "peer_unit_id": "E002", "type": Direction.DISCHARGE}
    event = DealWanted(**{**wanted, "energy_wh": 30.0, **changes})  # type: ignore[arg-type]
    effects = cluster.agents["E003"].handle(event, cluster.now_ns)
    cluster._do("E003", effects)
    return effects


def test_5_3_a_deal_by_hand_runs_also_in_soft_stop_and_below_the_minimum():
    cluster = watched()
    cluster.run_for(5.0)
    order_mode(cluster, OperationMode.SOFT_STOP)
    cluster.run_for(1.0)
    want(cluster)
    assert cluster.run_until(lambda: bool(cluster.completed()), 400.0), "\n".join(cluster.trace)
    (deal,) = cluster.completed()
    assert (deal.deal_id, deal.discharge_unit_id, deal.energy_wh) == ("hand", "E003", 30.0)
    assert deal.moved_wh == pytest.approx(30.0, rel=1e-2)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"peer_unit_id": "E003"}, InterchangeError.INVALID, "one of E001, E002, E004"),
        ({"energy_wh": 0.0}, InterchangeError.INVALID, "above 0"),
        ({"current_a": -1.0}, InterchangeError.INVALID, "above 0"),
    ],
)
def test_a_deal_by_hand_that_makes_no_sense_is_refused_at_once(
    changes: dict[str, object], error: InterchangeError, said: str
):
    cluster = watched()
    cluster.run_for(5.0)
    (refused,) = [e for e in want(cluster, **changes) if isinstance(e, RefuseDeal)]
    assert refused.error is error
    assert said in refused.message
    assert held_slots(cluster) == []


def test_a_deal_by_hand_is_refused_without_a_grid_master_and_in_force_stop():
    cluster = SimulatedCluster(SOCS)
    cluster.run_until(lambda: cluster.snapshot("E003").band != "", 5.0)
    cluster.lost = lambda _sender, _to: True
    cluster.run_for(30.0)
    (refused,) = [e for e in want(cluster) if isinstance(e, RefuseDeal)]
    assert refused.error is InterchangeError.NO_GRID_MASTER
    cluster.lost = lambda _sender, _to: False
    cluster.run_for(30.0)
    order_mode(cluster, OperationMode.FORCE_STOP)
    (refused,) = [e for e in want(cluster) if isinstance(e, RefuseDeal)]
    assert refused.error is InterchangeError.REFUSED


@pytest.mark.parametrize("unit_id", ["E001", "E002"])
def test_a_deal_that_is_no_longer_wanted_ends_orderly(unit_id: str):
    cluster = watched()
    deal_id = running_deal(cluster)
    order_mode(cluster, OperationMode.SOFT_STOP)
    cluster.feed(unit_id, DealUnwanted(deal_id))
    assert cluster.run_until(lambda: cluster.deals[deal_id].state.is_over, 30.0)
    assert "the operator ends the deal" in cluster.deals[deal_id].reason
    assert cluster.modes() == ALL_WAIT
    assert held_slots(cluster) == []


@pytest.mark.parametrize("seed", range(4))
def test_a_unit_that_was_cut_off_for_long_deals_again(seed: int):
    cluster = watched(seed=seed)
    running_deal(cluster)
    cluster.lost = lambda sender, to: (sender == "E001") != (to == "E001")
    cluster.run_for(200.0)
    cluster.lost = lambda _sender, _to: False
    done = len(cluster.completed())
    assert cluster.run_until(lambda: len(cluster.completed()) > done, 900.0)
    terms = {unit.term for unit in cluster.snapshots()}
    assert len(terms) == 1
    assert max(terms) < 6  # nobody who cannot win raises the term


def test_9_4_a_second_process_of_the_same_name_is_a_fault_and_stops_the_converter():
    cluster = watched(seed=2)
    running_deal(cluster)
    own = cluster.status("E001")
    cluster.feed("E001", Received(own))  # our own word, come back
    foreign = replace(own, instance_id="another", sequence=7)
    cluster.feed("E001", Received(foreign))
    cluster.feed("E001", Received(foreign))  # perhaps the last word of an earlier process
    assert "duplicate_unit_id" not in cluster.status("E001").fault_codes
    cluster.feed("E001", Received(replace(foreign, sequence=8)))
    assert "duplicate_unit_id" in cluster.status("E001").fault_codes
    cluster.run_for(30.0)
    assert cluster.modes() == ALL_WAIT


def test_w30_a_unit_whose_policy_differs_from_the_grid_masters_does_not_deal():
    cluster = watched(seed=2)
    running_deal(cluster)
    (master,) = masters(cluster)
    other = next(unit_id for unit_id in cluster.agents if unit_id != master)
    status = replace(cluster.status(master), policy_hash="f" * 64)
    cluster.feed(other, Received(status))
    reason = cluster.status(other).not_dealing_reason
    assert reason == f"its policy differs from that of {master}"


def test_11_a_unit_that_cannot_write_its_journal_ends_its_deals_and_leaves_office():
    cluster = watched()
    running = lambda: [d for d in cluster.deals.values() if d.state is DealState.RUNNING]  # noqa: E731
    assert cluster.run_until(lambda: bool(running()), 300.0)
    (deal,) = running()
    unit_id = deal.charge_unit_id
    cluster.feed(unit_id, JournalFailed("disk full"))
    assert cluster.run_until(lambda: cluster.deals[deal.deal_id].state.is_over, 60.0)
    assert "its journal cannot be written: disk full" in cluster.deals[deal.deal_id].reason
    status = cluster.status(unit_id)
    assert status.fault_codes == ("journal_failed",)
    assert status.not_dealing_reason == "fault journal_failed"
    assert cluster.plants[unit_id].reading.mode is ConverterMode.WAIT


def test_11_a_grid_master_that_cannot_write_its_journal_leaves_office():
    cluster = watched()
    assert cluster.run_until(lambda: bool(masters(cluster)), 60.0)
    (unit_id,) = masters(cluster)
    cluster.feed(unit_id, JournalFailed("disk full"))
    assert masters(cluster) == []
    assert cluster.run_until(lambda: bool(masters(cluster)), 60.0)
    assert masters(cluster) != [unit_id]
