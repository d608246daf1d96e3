"""A village of agents: whole deals, and everything that may cut them short."""

from dataclasses import replace

import pytest
from market import Market
from village import Village

from apis_core.events import (
    Answer,
    Asked,
    DealClosed,
    DealOpened,
    DealRefused,
    DealUnwanted,
    DealWanted,
    Effect,
    JournalFailed,
    Received,
)
from apis_core.messages import ControlRequest, ConverterOperation, OperationModeOrder
from apis_core.types import (
    Alarm,
    ControlError,
    ControlOperation,
    ConverterMode,
    DealState,
    Direction,
    InterchangeError,
    OperationMode,
    StopCause,
)
from apis_core.units import SECOND_NS, s_from_ns

SOCS = {"E001": 0.9, "E002": 0.5, "E003": 0.7, "E004": 0.7}  # E001 has to give, E002 wants
ALL_WAIT = {ConverterMode.WAIT}
REFERENCE = ConverterMode.VOLTAGE_REFERENCE


def never_two_references(village: Village) -> None:
    modes = [plant.reading.mode for plant in village.plants.values()]
    assert modes.count(REFERENCE) <= 1, f"at {s_from_ns(village.now_ns)} s: {modes}"


def never_two_masters(village: Village) -> None:
    assert len(masters(village)) <= 1, f"at {s_from_ns(village.now_ns)} s: {masters(village)}"


def masters(village: Village) -> list[str]:
    return village.leaders()


def order_mode(village: Village, mode: OperationMode, unit_id: str = "") -> None:
    for to in list(village.agents):
        village.feed(to, Received(OperationModeOrder(unit_id=unit_id, mode=mode)))


def watched(**arguments: object) -> Village:
    village = Village(SOCS, **arguments)  # type: ignore[arg-type]
    village.watchers += [never_two_references, never_two_masters]
    return village


def running_deal(village: Village, *, for_s: float = 20.0) -> str:
    """Let time pass until a deal runs, and a little longer; its id."""
    is_running = lambda: any(d.state is DealState.RUNNING for d in village.deals.values())  # noqa: E731
    assert village.run_until(is_running, 120.0), "\n".join(village.trace)
    village.run_for(for_s)
    return next(d.deal_id for d in village.deals.values() if d.state is DealState.RUNNING)


def held_slots(village: Village) -> list[str]:
    return [deal.deal_id for unit in village.snapshots() for deal in unit.slot_deals]


def test_a_deal_moves_the_agreed_energy_and_leaves_nothing_on():
    village = watched()
    deal_id = running_deal(village)
    order_mode(village, OperationMode.SOFT_STOP)
    assert village.run_until(lambda: bool(village.completed()), 600.0)
    deal = village.deals[deal_id]
    assert (deal.discharge_unit_id, deal.charge_unit_id) == ("E001", "E002")
    assert deal.moved_wh == pytest.approx(deal.energy_wh, rel=1e-3)
    assert deal.received_wh == deal.moved_wh
    assert deal.sent_wh is not None
    assert deal.sent_wh > deal.received_wh  # the taker's converter loses some on its battery side
    village.run_for(10.0)
    assert village.modes() == ALL_WAIT
    assert held_slots(village) == []


def test_7_3_the_reference_comes_first_and_leaves_last():
    village = watched()
    running_deal(village)
    assert village.run_until(lambda: bool(village.completed()), 600.0)
    modes = [
        (unit_id, order.mode)
        for unit_id, order in village.orders
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
    village = watched()
    deal_id = running_deal(village)
    for unit_id in ("E001", "E002"):
        entries = [record.entry for record in village.journals[unit_id]]
        opened = [e for e in entries if isinstance(e, DealOpened) and e.deal.deal_id == deal_id]
        assert len(opened) == 1
    assert village.run_until(lambda: bool(village.completed()), 600.0)
    for unit_id in ("E001", "E002"):
        entries = [record.entry for record in village.journals[unit_id]]
        closed = [e for e in entries if isinstance(e, DealClosed)]
        assert [e.receipt.deal_id for e in closed] == [deal_id]
        assert closed[0].receipt.grid_moved_wh > 50.0


def test_6_soft_stop_lets_the_running_deal_finish_and_begins_no_other():
    village = watched()
    deal_id = running_deal(village)
    order_mode(village, OperationMode.SOFT_STOP)
    village.run_for(900.0)
    assert village.deals[deal_id].state is DealState.COMPLETED
    assert list(village.deals) == [deal_id]


def test_6_force_stop_ends_the_running_deal_orderly():
    village = watched()
    deal_id = running_deal(village)
    order_mode(village, OperationMode.FORCE_STOP)
    assert village.run_until(lambda: village.deals[deal_id].state.is_over, 30.0)
    assert village.deals[deal_id].state is DealState.ABORTED
    assert "force stop" in village.deals[deal_id].reason
    assert village.modes() == ALL_WAIT
    assert held_slots(village) == []


def test_6_a_local_force_stop_takes_one_unit_out_and_is_remembered():
    village = watched()
    deal_id = running_deal(village)
    order_mode(village, OperationMode.FORCE_STOP, "E001")
    assert village.run_until(lambda: village.deals[deal_id].state.is_over, 30.0)
    village.kill("E001")
    village.start("E001")
    village.run_for(120.0)
    assert village.snapshot("E001").mode is OperationMode.FORCE_STOP
    assert village.snapshot("E002").mode is OperationMode.RUN
    order_mode(village, OperationMode.RUN, "E001")
    assert village.run_until(lambda: bool(village.completed()), 900.0)


def test_6_a_unit_that_was_away_learns_the_global_mode_from_the_others():
    village = watched()
    village.run_for(10.0)
    village.kill("E004")
    order_mode(village, OperationMode.FORCE_STOP)
    village.run_for(10.0)
    village.start("E004")
    village.run_for(15.0)
    assert village.snapshot("E004").mode is OperationMode.FORCE_STOP


@pytest.mark.parametrize("seed", range(3))
def test_w5_a_lost_grid_master_is_replaced_and_its_deal_goes_on(seed: int):
    village = watched(seed=seed)
    deal_id = running_deal(village)
    (master,) = masters(village)
    village.kill(master)
    lost_ns = village.now_ns
    order_mode(village, OperationMode.SOFT_STOP)
    assert village.run_until(lambda: bool(masters(village)), 60.0)
    assert village.now_ns - lost_ns < 10 * SECOND_NS
    assert village.run_until(lambda: village.deals[deal_id].state.is_over, 900.0)
    deal = village.deals[deal_id]
    # unless it was a party: then the deal ends by its drivers' dead men
    is_party = master in deal.unit_ids
    assert deal.state is (DealState.ABORTED if is_party else DealState.COMPLETED)
    assert is_party or deal.grid_master_id != master
    village.run_for(30.0)
    assert village.modes() == ALL_WAIT
    village.start(master)
    village.run_for(10.0)
    order_mode(village, OperationMode.RUN)
    assert village.run_until(lambda: bool(village.completed()), 900.0)


@pytest.mark.parametrize("victim", ["E001", "E002"])
def test_w1_the_death_of_either_side_ends_the_deal_by_its_drivers_dead_man(victim: str):
    village = watched(seed=5)
    deal_id = running_deal(village)
    village.kill(victim)
    killed_ns = village.now_ns
    plant = village.plants[victim]
    assert village.run_until(lambda: plant.reading.mode is ConverterMode.WAIT, 30.0)
    assert plant.reading.stop_cause is StopCause.HOLD_EXPIRED
    assert village.now_ns - killed_ns <= 6 * SECOND_NS
    assert village.run_until(lambda: village.modes() == ALL_WAIT, 60.0)
    assert village.run_until(lambda: village.deals[deal_id].state.is_over, 200.0)
    survivor = {"E001": "E002", "E002": "E001"}[victim]
    assert village.run_until(lambda: not village.snapshot(survivor).slot_deals, 60.0)


def test_a_partition_leaves_at_most_one_master_and_heals():
    village = watched(seed=2)
    running_deal(village)
    (master,) = masters(village)
    village.lost = lambda sender, to: (sender == master) != (to == master)
    village.run_for(60.0)
    assert masters(village) != [master]
    assert village.modes() == ALL_WAIT or masters(village)
    village.lost = lambda _sender, _to: False
    done = len(village.completed())
    assert village.run_until(lambda: len(village.completed()) > done, 900.0)


def test_no_majority_no_master_no_deal():
    village = watched()
    village.lost = lambda _sender, _to: True
    village.run_for(120.0)
    assert masters(village) == []
    assert village.deals == {}
    assert village.modes() == ALL_WAIT


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
    village = watched()
    deal_id = running_deal(village)
    agent = village.agents["E001"]
    own = masters(village)[0]
    before = village.plants["E001"].reading
    request = ControlRequest(
        operation=ControlOperation.WAIT,
        grid_master_id=own if master == "own" else "E004" if own == "E003" else "E003",
        term=village.snapshot("E001").term + term_offset,
        deal_id=deal_id,
    )
    effects = agent.handle(Asked("E009|x", request), village.now_ns)
    (answer,) = [effect for effect in effects if isinstance(effect, Answer)]
    assert answer.reply.error is error
    assert village.plants["E001"].reading.mode is before.mode


def test_a_stopping_process_leaves_its_converter_in_wait():
    village = watched()
    running_deal(village)
    for unit_id in SOCS:
        village.ask_to_stop(unit_id)
    assert village.run_until(lambda: village.stopped == set(SOCS), 20.0)
    assert village.modes() == ALL_WAIT


def test_what_was_counted_survives_the_process_but_for_the_last_twentieth():
    village = watched()
    deal_id = running_deal(village)
    village.run_for(120.0)
    flowed_wh = village.snapshot("E001").shares[deal_id].moved_wh
    assert flowed_wh > 10.0
    village.kill("E001")
    village.start("E001")
    (receipt,) = [
        record.entry.receipt
        for record in village.journals["E001"]
        if isinstance(record.entry, DealClosed)
    ]
    assert flowed_wh - 0.06 * 50.0 <= receipt.grid_moved_wh <= flowed_wh
    assert receipt.reason == "the unit was restarted"


def test_w17_a_restarted_unit_closes_what_it_was_part_of():
    village = watched()
    deal_id = running_deal(village)
    village.kill("E001")
    village.start("E001")
    village.run_for(1.0)
    closed = [
        record.entry.receipt
        for record in village.journals["E001"]
        if isinstance(record.entry, DealClosed)
    ]
    assert [(receipt.deal_id, receipt.reason) for receipt in closed] == [
        (deal_id, "the unit was restarted")
    ]
    assert village.plants["E001"].reading.mode is ConverterMode.WAIT


def test_w2_a_broken_hard_limit_stops_the_converter_without_asking():
    village = watched()
    deal_id = running_deal(village)
    plant = village.plants["E001"]
    plant.reading = replace(plant.reading, converter_temp_degc=70.0)
    assert village.run_until(lambda: plant.reading.mode is ConverterMode.WAIT, 2.0)
    assert village.run_until(lambda: village.deals[deal_id].state.is_over, 30.0)
    assert "converter_temp_out_of_range" in village.deals[deal_id].reason
    village.run_for(60.0)
    assert list(village.deals) == [deal_id]  # in quarantine while the fault lasts
    plant.reading = replace(plant.reading, converter_temp_degc=25.0)
    assert village.run_until(lambda: len(village.deals) > 1, 120.0)


def test_7_4_a_giver_below_its_limit_of_charge_ends_the_deal():
    village = watched(discharge_soc_min_ratio=0.895)
    deal_id = running_deal(village, for_s=1.0)
    assert village.run_until(lambda: village.deals[deal_id].state.is_over, 600.0)
    assert village.deals[deal_id].state is DealState.ABORTED
    assert "E001 is down to 89" in village.deals[deal_id].reason


def test_a_bus_that_somebody_else_holds_is_left_alone():
    village = watched(ramp_up_timeout_ns=30 * SECOND_NS)
    village.bus_v = 350.0
    village.watchers.append(lambda v: setattr(v, "bus_v", 350.0))
    village.run_for(120.0)
    assert [deal.state for deal in village.deals.values()][:1] == [DealState.ABORTED]
    assert "did not become free" in next(iter(village.deals.values())).reason
    assert all(order.mode is not REFERENCE for _, order in village.orders)


def test_the_same_seed_gives_the_same_trace():
    def trace(seed: int) -> list[str]:
        village = Village(SOCS, seed=seed)
        village.run_for(200.0)
        return village.trace

    assert trace(7) == trace(7)
    assert trace(7) != trace(8)


@pytest.mark.parametrize("seed", range(4))
def test_loss_and_crashes_leave_nothing_on_and_no_slot_held(seed: int):
    village = watched(seed=seed)
    random = village.random
    village.lost = lambda _sender, _to: random.random() < 0.1
    for _ in range(8):
        village.run_for(random.uniform(5.0, 60.0))
        unit_id = random.choice(list(SOCS))
        if unit_id in village.agents:
            village.kill(unit_id)
        else:
            village.start(unit_id)
    village.lost = lambda _sender, _to: False
    for unit_id in SOCS:
        if unit_id not in village.agents:
            village.start(unit_id)
    village.run_for(120.0)
    order_mode(village, OperationMode.SOFT_STOP)
    village.run_for(600.0)
    assert village.modes() == ALL_WAIT
    assert held_slots(village) == []
    assert all(deal.state.is_over for deal in village.deals.values())


def test_a_queued_deal_that_ends_leaves_the_running_one_alone():
    market = Market(total_deal_current_max_a=1.5)  # a bus that carries one deal at a time
    running_id = market.want("E001", "E002", 20.0)
    waiting_id = market.want("E004", "E003", 20.0)
    assert market.state(running_id) is DealState.RUNNING
    assert market.state(waiting_id) is DealState.QUEUED
    order_mode(market, OperationMode.FORCE_STOP, "E003")
    assert market.run_until(lambda: market.state(waiting_id).is_over, 30.0)
    assert market.state(waiting_id) is DealState.ABORTED
    assert market.run_until(lambda: market.state(running_id).is_over, 900.0)
    assert market.state(running_id) is DealState.COMPLETED


def want(village: Village, **changes: object) -> list[Effect]:
    """An operator asks E003 for a deal by hand; what its agent wants at once."""
    wanted = {"deal_id": "hand", "peer_unit_id": "E002", "type": Direction.DISCHARGE}
    event = DealWanted(**{**wanted, "energy_wh": 30.0, **changes})  # type: ignore[arg-type]
    effects = village.agents["E003"].handle(event, village.now_ns)
    village._do("E003", effects)
    return effects


def test_5_3_a_deal_by_hand_runs_also_in_soft_stop_and_below_the_minimum():
    village = watched()
    village.run_for(5.0)
    order_mode(village, OperationMode.SOFT_STOP)
    village.run_for(1.0)
    want(village)
    assert village.run_until(lambda: bool(village.completed()), 400.0), "\n".join(village.trace)
    (deal,) = village.completed()
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
    village = watched()
    village.run_for(5.0)
    (refused,) = [e for e in want(village, **changes) if isinstance(e, DealRefused)]
    assert refused.error is error
    assert said in refused.message
    assert held_slots(village) == []


def test_a_deal_by_hand_is_refused_without_a_grid_master_and_in_force_stop():
    village = Village(SOCS)
    village.run_until(lambda: village.snapshot("E003").band != "", 5.0)
    village.lost = lambda _sender, _to: True
    village.run_for(30.0)
    (refused,) = [e for e in want(village) if isinstance(e, DealRefused)]
    assert refused.error is InterchangeError.NO_GRID_MASTER
    village.lost = lambda _sender, _to: False
    village.run_for(30.0)
    order_mode(village, OperationMode.FORCE_STOP)
    (refused,) = [e for e in want(village) if isinstance(e, DealRefused)]
    assert refused.error is InterchangeError.REFUSED


@pytest.mark.parametrize("unit_id", ["E001", "E002"])
def test_a_deal_that_is_no_longer_wanted_ends_orderly(unit_id: str):
    village = watched()
    deal_id = running_deal(village)
    order_mode(village, OperationMode.SOFT_STOP)
    village.feed(unit_id, DealUnwanted(deal_id))
    assert village.run_until(lambda: village.deals[deal_id].state.is_over, 30.0)
    assert "the operator ends the deal" in village.deals[deal_id].reason
    assert village.modes() == ALL_WAIT
    assert held_slots(village) == []


@pytest.mark.parametrize("seed", range(4))
def test_a_unit_that_was_cut_off_for_long_deals_again(seed: int):
    village = watched(seed=seed)
    running_deal(village)
    village.lost = lambda sender, to: (sender == "E001") != (to == "E001")
    village.run_for(200.0)
    village.lost = lambda _sender, _to: False
    done = len(village.completed())
    assert village.run_until(lambda: len(village.completed()) > done, 900.0)
    terms = {unit.term for unit in village.snapshots()}
    assert len(terms) == 1
    assert max(terms) < 6  # nobody who cannot win raises the term


def test_an_alarm_that_a_wait_clears_does_not_keep_its_unit_out():
    village = watched()
    running_deal(village)
    plant = village.plants["E001"]
    plant.reading = replace(plant.reading, alarm=Alarm.HEAVY, mode=ConverterMode.WAIT)
    before = len(village.orders)
    village.run_for(3.0)
    waits = [
        unit_id
        for unit_id, order in village.orders[before:]
        if unit_id == "E001" and order.mode is ConverterMode.WAIT
    ]
    assert waits


def test_9_4_a_second_process_of_the_same_name_is_a_fault_and_stops_the_converter():
    village = watched(seed=2)
    running_deal(village)
    own = village.status("E001")
    village.feed("E001", Received(own))  # our own word, come back
    foreign = replace(own, instance_id="another", sequence=7)
    village.feed("E001", Received(foreign))
    village.feed("E001", Received(foreign))  # perhaps the last word of an earlier process
    assert "duplicate_unit_id" not in village.status("E001").fault_codes
    village.feed("E001", Received(replace(foreign, sequence=8)))
    assert "duplicate_unit_id" in village.status("E001").fault_codes
    village.run_for(30.0)
    assert village.modes() == ALL_WAIT


def test_w30_a_unit_whose_policy_differs_from_the_grid_masters_does_not_deal():
    village = watched(seed=2)
    running_deal(village)
    (master,) = masters(village)
    other = next(unit_id for unit_id in village.agents if unit_id != master)
    status = replace(village.status(master), policy_hash="f" * 64)
    village.feed(other, Received(status))
    reason = village.status(other).not_dealing_reason
    assert reason == f"its policy differs from that of {master}"


def test_11_a_unit_that_cannot_write_its_journal_ends_its_deals_and_leaves_office():
    village = watched()
    running = lambda: [d for d in village.deals.values() if d.state is DealState.RUNNING]  # noqa: E731
    assert village.run_until(lambda: bool(running()), 300.0)
    (deal,) = running()
    unit_id = deal.charge_unit_id
    village.feed(unit_id, JournalFailed("disk full"))
    assert village.run_until(lambda: village.deals[deal.deal_id].state.is_over, 60.0)
    assert "its journal cannot be written: disk full" in village.deals[deal.deal_id].reason
    status = village.status(unit_id)
    assert status.fault_codes == ("journal_failed",)
    assert status.not_dealing_reason == "fault journal_failed"
    assert village.plants[unit_id].reading.mode is ConverterMode.WAIT


def test_11_a_grid_master_that_cannot_write_its_journal_leaves_office():
    village = watched()
    assert village.run_until(lambda: bool(masters(village)), 60.0)
    (unit_id,) = masters(village)
    village.feed(unit_id, JournalFailed("disk full"))
    assert masters(village) == []
    assert village.run_until(lambda: bool(masters(village)), 60.0)
    assert masters(village) != [unit_id]
