"""A grid master is lost in the middle of deals, and the next one goes on (W5)."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from deal_bench import SOCS, DealBench, Led, sides
from simulated_cluster import SimulatedCluster

from apis_core.config.policy import replace_members
from apis_core.config.timing import Timing
from apis_core.events import Broadcast, Call, Log, Received
from apis_core.grid_master.bus_state import Stage
from apis_core.grid_master.deal.transitions import Phase
from apis_core.grid_master.grid_master import GridMaster
from apis_core.grid_master.hand_over import Step
from apis_core.model.messages import ControlReply, ConverterReading, Deal, UnitStatus
from apis_core.model.types import ControlOperation, ConverterMode, DealState, OperationMode
from apis_core.model.units import SECOND_NS

M, Op = ConverterMode, ControlOperation
NOW_NS = 1_000 * SECOND_NS


# --- what a new grid master goes on with ---------------------------------------------------------


def deal(deal_id: str, giver: str, taker: str, **changes) -> Deal:
    fields = {"voltage_reference_id": "E002", "state": DealState.RUNNING, "term": 6, **changes}
    return Deal(
        deal_id=deal_id,
        request_unit_id=taker,
        accept_unit_id=giver,
        discharge_unit_id=giver,
        charge_unit_id=taker,
        energy_wh=50.0,
        current_a=1.0,
        grid_master_id="E009",
        sequence=9,
        **fields,
    )


def status(unit_id: str, mode: ConverterMode, *deal_ids: str) -> UnitStatus:
    return UnitStatus(
        unit_id=unit_id,
        instance_id=f"{unit_id}#1",
        sequence=1,
        global_mode=OperationMode.RUN,
        global_mode_version=1,
        local_mode=OperationMode.UNSET,
        effective_mode=OperationMode.RUN,
        capacity_wh=4800.0,
        term=7,
        converter=ConverterReading(mode=mode),
        deal_ids=deal_ids,
    )


DEALS = (deal("d", "E001", "E002"), deal("e", "E004", "E003"))
STATUSES = (
    status("E001", M.DISCHARGE, "d"),
    status("E002", M.VOLTAGE_REFERENCE, "d"),
    status("E003", M.CHARGE, "e"),
    status("E004", M.DISCHARGE, "e"),
)


def new_master(policy, statuses, deals=DEALS):
    return GridMaster(
        unit_id="E005",
        term=7,
        policy=policy,
        timing=Timing.of(policy),
        random=Random(1),
        known_deals={known.deal_id: known for known in deals},
        statuses={status.unit_id: status for status in statuses},
        heard_ns=dict.fromkeys([status.unit_id for status in statuses], NOW_NS),
        now_ns=NOW_NS,
    )


def begins(policy, deals=DEALS, statuses=STATUSES, now=None, **instead):
    """A new grid master, and what it does until all have spoken twice in its term.

    ``instead`` = other statuses by unit; ``now`` = what they say now, if it is not that.
    """
    said = {s.unit_id: s for s in statuses} | instead
    master = new_master(policy, [replace(s, term=6) for s in said.values()], deals)
    effects = master.begin(NOW_NS)
    for status in 2 * (now or [*said.values()]):
        effects += master.hear_status(status, NOW_NS)
    return master, effects


def orders(effects, operation):
    return [
        (effect.to, effect.request.deal_id)
        for effect in effects
        if isinstance(effect, Call) and effect.request.operation is operation
    ]


def test_w5_deals_that_run_are_adopted_with_both_units_and_told_to_all(policy):
    master, effects = begins(policy)
    adopted = [("E001", "d"), ("E002", "d"), ("E003", "e"), ("E004", "e")]
    assert orders(effects, Op.ADOPT) == adopted
    assert orders(effects, Op.RELEASE) == []
    calls = [effect.request for effect in effects if isinstance(effect, Call)]
    assert {(c.term, c.grid_master_id) for c in calls} == {(7, "E005")}
    told = [effect.message for effect in effects if isinstance(effect, Broadcast)]
    assert [(d.deal_id, d.term, d.state) for d in told] == [
        ("d", 7, DealState.RUNNING),
        ("e", 7, DealState.RUNNING),
    ]
    assert Log("goes on with d; E002 holds the bus") in effects
    assert (master.snapshot().reference_stage, master.snapshot().reference_id) == (
        Stage.UP,
        "E002",
    )


def test_w5_nothing_new_starts_while_a_current_of_an_older_term_flows(policy):
    """Found by seed 498: 5 A were given to a bus for 4, because E006's current came on top."""
    stray = replace(status("E006", M.DISCHARGE, "f"), flowing_deal_ids=("f",))
    cluster = replace_members(policy, [f"E00{n}" for n in range(1, 7)])
    master, _ = begins(cluster, E006=stray)
    new = replace(deal("g", "E006", "E005"), state=DealState.UNKNOWN, voltage_reference_id="")
    calls = master.submit("ask", new, OperationMode.RUN, NOW_NS)
    while calls := [c for c in calls if isinstance(c, Call) and c.request.deal_id == "g"]:
        calls = master.answered(calls[0].origin, ControlReply(), NOW_NS)
    waits = master.snapshot()
    assert (waits.deals["g"].phase, waits.next_deal_id) == (Phase.QUEUED, None)

    left = replace(stray, sequence=2, converter=ConverterReading(mode=M.WAIT), flowing_deal_ids=())
    master.hear_status(left, NOW_NS + SECOND_NS)
    assert (
        master.snapshot().next_deal_id == "g"
    )  # as soon as the reference's current has been read


def test_w5_a_silent_units_current_is_waited_for_no_longer_than_its_hold_time(policy):
    stray = replace(status("E006", M.DISCHARGE, "f"), flowing_deal_ids=("f",))
    master, _ = begins(policy, E006=stray)
    hold_ns = Timing.of(policy).deal.hold_ns
    assert master._recovery.has_foreign_current(("d", "e"), NOW_NS + hold_ns - 1)
    assert not master._recovery.has_foreign_current(("d", "e"), NOW_NS + hold_ns)


def test_w5_what_has_flowed_before_stays_counted(policy):
    before = deal("d", "E001", "E002", moved_wh=20.0, started_ns=5)
    master, _ = begins(policy, [before])
    adopted = master.snapshot().deals["d"].deal
    assert (adopted.moved_wh, adopted.started_ns) == (20.0, 5)


@pytest.mark.parametrize(
    "instead",
    [
        status("E002", M.WAIT, "d"),  # the bus is dead
        status("E002", M.CHARGE, "d"),
        status("E002", M.VOLTAGE_REFERENCE),  # it has given its deal up
        status("E001", M.WAIT, "d"),  # the reference's only deal has ended: a hand-over was due
    ],
)
def test_w5_a_bus_that_is_not_as_the_records_say_is_wound_up(policy, instead):
    _, effects = begins(policy, **{instead.unit_id: instead})
    assert orders(effects, Op.ADOPT) == []
    released = orders(effects, Op.RELEASE)
    assert ("E003", "e") in released
    assert ("E004", "e") in released


def test_w5_two_references_in_the_records_are_wound_up(policy):
    moving = deal("e", "E004", "E003", voltage_reference_id="E003")
    _, effects = begins(policy, [DEALS[0], moving])
    assert orders(effects, Op.ADOPT) == []


@pytest.mark.parametrize("state", [s for s in DealState if s is not DealState.RUNNING])
def test_w5_a_deal_in_transition_is_released_and_the_others_go_on(policy, state):
    _, effects = begins(policy, [DEALS[0], deal("e", "E004", "E003", state=state)])
    assert orders(effects, Op.ADOPT) == [("E001", "d"), ("E002", "d")]
    assert orders(effects, Op.RELEASE) == [("E003", "e"), ("E004", "e")]


@pytest.mark.parametrize("unit_id", ["E003", "E004"])
def test_w5_a_deal_whose_unit_is_off_is_released_and_the_others_go_on(policy, unit_id):
    _, effects = begins(policy, **{unit_id: status(unit_id, M.WAIT, "e")})
    assert orders(effects, Op.ADOPT) == [("E001", "d"), ("E002", "d")]
    assert sorted(orders(effects, Op.RELEASE)) == [("E003", "e"), ("E004", "e")]


def test_w5_a_unit_that_is_heard_a_little_late_is_no_reason_to_end_what_flows(policy):
    late = STATUSES[2]
    master, effects = begins(policy, statuses=[s for s in STATUSES if s is not late])
    assert orders(effects, Op.ADOPT) == [("E001", "d"), ("E002", "d")]
    assert orders(effects, Op.RELEASE) == []
    effects = master.hear_status(late, NOW_NS + SECOND_NS)
    assert orders(effects, Op.ADOPT) == [("E003", "e"), ("E004", "e")]


def test_w5_the_reference_that_is_heard_a_little_late_keeps_all_deals(policy):
    late = STATUSES[1]
    master, effects = begins(policy, statuses=[s for s in STATUSES if s is not late])
    assert orders(effects, Op.RELEASE) == []
    effects = master.hear_status(late, NOW_NS + SECOND_NS)
    adopted = [("E001", "d"), ("E002", "d"), ("E003", "e"), ("E004", "e")]
    assert sorted(orders(effects, Op.ADOPT)) == adopted


def test_w5_a_unit_that_is_heard_late_without_its_deal_ends_it(policy):
    master, _ = begins(policy, statuses=STATUSES[:2] + STATUSES[3:])
    effects = master.hear_status(status("E003", M.WAIT), NOW_NS + SECOND_NS)
    effects += master.hear_status(STATUSES[3], NOW_NS + 2 * SECOND_NS)
    assert orders(effects, Op.ADOPT) == []
    assert orders(effects, Op.RELEASE) == [("E004", "e")]


def test_w5_a_unit_that_is_not_heard_in_time_ends_its_deal(policy):
    master, _ = begins(policy, statuses=STATUSES[:2] + STATUSES[3:])
    later_ns = NOW_NS + Timing.of(policy).silent_ns + 1
    assert orders(master.hear_status(STATUSES[3], later_ns), Op.RELEASE) == [("E004", "e")]
    assert orders(master.hear_status(STATUSES[2], later_ns), Op.ADOPT) == []


def test_w5_what_a_grid_master_that_was_cut_off_has_ended_is_not_said_to_run(policy):
    """Found by seed 878: both units had been cut off with it, and so had its word of the end."""
    ended = [status(unit_id, M.WAIT) for unit_id in ("E001", "E002", "E003", "E004")]
    _, effects = begins(policy, now=ended)
    assert orders(effects, Op.ADOPT) == []
    assert [e.message for e in effects if isinstance(e, Broadcast)] == []


def test_w5_what_a_unit_said_under_an_older_grid_master_decides_nothing(policy):
    master, _ = begins(policy, statuses=())
    for said in STATUSES:
        assert orders(master.hear_status(replace(said, term=6), NOW_NS), Op.ADOPT) == []
    assert orders(master.hear_status(STATUSES[1], NOW_NS), Op.ADOPT) == [
        ("E001", "d"),
        ("E002", "d"),
    ]


def test_w5_what_a_unit_said_when_it_voted_decides_at_once(policy):
    master = new_master(policy, STATUSES)
    adopted = [("E001", "d"), ("E002", "d"), ("E003", "e"), ("E004", "e")]
    assert orders(master.begin(NOW_NS), Op.ADOPT) == adopted


def test_w5_records_that_differ_on_the_reference_are_not_gone_on_with_before_all_have_spoken(
    policy,
):
    moving = deal("e", "E004", "E003", voltage_reference_id="E003")
    master, effects = begins(policy, [DEALS[0], moving], STATUSES[:2])
    assert orders(effects, Op.ADOPT) == []
    gone = replace(STATUSES[2], deal_ids=(), converter=ConverterReading(mode=M.WAIT))
    assert orders(master.hear_status(gone, NOW_NS), Op.ADOPT) == [("E001", "d"), ("E002", "d")]


# --- in the cluster ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_w5_all_deals_go_on_under_the_next_grid_master(seed):
    bench = DealBench({**SOCS, "E005": 0.7}, seed=seed)
    bench.want("E001", "E002", 30.0)
    bench.want("E004", "E003", 30.0)
    master_id = bench.master_id
    busy = {unit_id for deal in bench.deals.values() for unit_id in deal.unit_ids}
    bench.kill(master_id)
    bench.run_for(40.0)
    bench.start(master_id)
    ended = bench.finish().values()
    if master_id not in busy:
        assert {deal.state for deal in ended} == {DealState.COMPLETED}
    assert {deal.grid_master_id for deal in ended} != {master_id}


@pytest.mark.parametrize("role", ["gives", "takes and holds the bus"])
def test_w5_a_grid_master_killed_in_its_own_deal_has_it_closed_within_ten_seconds(role):
    """A unit that is dead is not waited for: neither its partner stays on, nor the record open."""
    bench = Led()
    giver, taker = bench.leader_id, bench.a
    if role != "gives":
        giver, taker = taker, giver
    deal_id = bench.want(giver, taker, 30.0)
    assert bench.run_until(lambda: bench.state(deal_id) is DealState.RUNNING, 60.0)
    bench.run_for(13.0)
    bench.lose()
    lost_ns = bench.now_ns
    assert bench.run_until(lambda: bench.modes() == {M.WAIT}, 10.0)
    assert bench.run_until(lambda: bench.state(deal_id) is DealState.ABORTED, 10.0)
    assert bench.now_ns - lost_ns <= 10 * SECOND_NS


@pytest.mark.parametrize("kind", ["energies", "one lost word", "compensated"])
def test_w5_an_adopted_deal_ends_with_what_was_agreed(kind):
    bench = Led(seed=2)
    if kind == "compensated":
        bench.plants[bench.a].meter_error_a = 0.05
    first = bench.want(bench.a, bench.b, 20.0)
    bench.want(bench.c, bench.d, 30.0)
    assert bench.run_until(lambda: bench.deals[first].moved_wh > 16.0, 400.0)
    if kind == "one lost word":
        lost = set()

        def is_deaf(unit_id, request):
            is_first = request.operation is Op.ADOPT and unit_id not in lost
            lost.update([unit_id] * is_first)
            return is_first

        bench.is_deaf = is_deaf
    bench.lose()
    before = len(bench.orders)
    for ended in bench.finish().values():
        assert ended.state is DealState.COMPLETED
        assert ended.grid_master_id != bench.leader_id
        assert ended.moved_wh == pytest.approx(ended.energy_wh, rel=2e-3)
    switched = [u for u, o in bench.orders[before:] if o.mode in (M.CHARGE, M.DISCHARGE)]
    assert switched == []  # no current was taken off and started anew


@pytest.mark.parametrize("order", ["its own deal last", "its own deal first"])
def test_books_agree_when_the_lost_grid_master_gave_to_the_same_reference(order):
    bench = Led()
    wanted = [(bench.a, bench.b, 20.0), (bench.leader_id, bench.b, 30.0)]
    wanted = wanted if order == "its own deal last" else wanted[::-1]
    kept, *_ = sorted((bench.want(*deal) for deal in wanted), key=lambda i: bench.a not in i)
    assert bench.references == [bench.b]
    bench.lose()
    ended = bench.finish()[kept]
    assert ended.state is DealState.COMPLETED
    # for a while nobody knew that its current had ceased
    assert books_apart_ratio(bench, ended) < 0.01


def test_books_agree_when_the_lost_grid_master_took_from_the_same_giver():
    bench = Led()
    kept = bench.want(bench.a, bench.b, 20.0)
    bench.want(bench.a, bench.leader_id, 30.0)
    assert bench.references == [bench.b]
    bench.lose()
    ended = bench.finish()[kept]
    assert ended.state is DealState.COMPLETED
    # what was meant for the lost unit strayed into the reference
    assert books_apart_ratio(bench, ended) < 0.01


def books_apart_ratio(bench, deal):
    sent_wh, taken_wh = (bench.counted_wh(unit_id, deal) for unit_id in sides(deal))
    return abs(sent_wh - taken_wh) / max(sent_wh, taken_wh)


STAGES = [
    ("activating", lambda master: master.reference_stage is Stage.ACTIVATING),
    ("ramping up", lambda master: master.reference_stage is Stage.RAMPING_UP),
    ("authorising", lambda master: master.reference_stage is Stage.AUTHORISING),
    ("starting", lambda master: _phase(master, Phase.STARTING)),
    ("compensating", lambda master: _phase(master, Phase.COMPENSATING)),
]


def _phase(master, phase):
    return any(deal.phase is phase for deal in master.deals.values())


@pytest.mark.parametrize(("name", "is_there"), STAGES)
def test_w5_a_grid_master_lost_before_its_deal_runs_leaves_nothing_on(name, is_there):
    bench = Led()
    lost = bench.want(bench.a, bench.b, 20.0, after_s=0.0)
    assert bench.run_until(lambda: is_there(bench.grid_master), 60.0)
    bench.lose()
    ended = bench.finish(200.0)
    assert lost not in ended or ended[lost].state is DealState.ABORTED
    again = bench.want(bench.a, bench.b, 10.0)  # and the bus is free again
    assert bench.finish()[again].state is DealState.COMPLETED


@pytest.mark.parametrize(("name", "is_there"), STAGES[3:])
def test_w5_a_grid_master_lost_while_a_second_deal_starts_takes_only_that_along(name, is_there):
    bench = Led()
    kept = bench.want(bench.a, bench.b, 30.0)
    lost = bench.want(bench.c, bench.d, 30.0, after_s=0.0)
    assert bench.run_until(lambda: is_there(bench.grid_master), 60.0)
    bench.lose()
    ended = bench.finish()
    assert ended[kept].state is DealState.COMPLETED
    assert ended[lost].state is DealState.ABORTED


@pytest.mark.parametrize(
    "step", [Step.WILL_HAND_OVER, Step.WILL_TAKE_OVER, Step.DID_HAND_OVER, Step.DID_TAKE_OVER]
)
@pytest.mark.parametrize("why", ["the old one's deal is over", "a large one joins"])
def test_w5_a_grid_master_lost_in_a_hand_over_leaves_nothing_on(why, step):
    bench = Led()
    if why == "a large one joins":
        bench.prefer(bench.d)
    first = bench.want(bench.a, bench.b, 15.0)
    second = bench.want(bench.c, bench.d, 40.0, after_s=0.0)

    def has_come() -> bool:
        master = bench.grid_master
        return master.reference_stage is Stage.HANDING_OVER and master.hand_over_step is step

    assert bench.run_until(has_come, 400.0)
    bench.lose()
    ended = bench.finish()
    assert ended[first].state.is_over
    assert ended[second].state.is_over
    again = bench.want(bench.a, bench.b, 10.0)
    assert bench.finish()[again].state is DealState.COMPLETED


@pytest.mark.parametrize("phase", [Phase.STOPPING, Phase.LEAVING, Phase.RELEASING])
def test_w5_a_grid_master_lost_at_a_deals_end_leaves_the_other_running(phase):
    bench = Led()
    bench.want(bench.a, bench.b, 15.0)
    kept = bench.want(bench.c, bench.b, 30.0)
    assert bench.run_until(lambda: _phase(bench.grid_master, phase), 400.0)
    bench.lose()
    assert bench.finish()[kept].state is DealState.COMPLETED


# --- an orderly change of grid master ------------------------------------------------------------


def test_w42_a_grid_master_that_stops_leaves_the_deals_to_the_next_one():
    bench = Led()
    first = bench.want(bench.a, bench.b, 30.0)
    second = bench.want(bench.c, bench.d, 30.0)
    bench.ask_to_stop(bench.leader_id)
    assert bench.run_until(lambda: bench.leader_id in bench.stopped, 5.0)
    bench.kill(bench.leader_id)
    assert bench.run_until(lambda: bool(bench.leaders()), 10.0)
    ended = bench.finish()
    assert {ended[deal_id].state for deal_id in (first, second)} == {DealState.COMPLETED}


def test_w42_its_own_deal_ends_and_the_bus_is_handed_over_before_it_goes():
    bench = Led()
    own = bench.want(bench.a, bench.leader_id, 40.0)
    other = bench.want(bench.c, bench.d, 40.0)
    assert bench.references == [bench.leader_id]
    bench.ask_to_stop(bench.leader_id)
    assert bench.run_until(lambda: bench.leader_id in bench.stopped, 10.0)
    assert bench.plants[bench.leader_id].reading.mode is M.WAIT
    bench.kill(bench.leader_id)
    ended = bench.finish()
    assert (ended[own].state, ended[other].state) == (DealState.ABORTED, DealState.COMPLETED)
    assert "is stopping" in ended[own].reason


def test_7_6_a_reference_whose_process_stops_hands_the_bus_over_first():
    bench = Led()
    own = bench.want(bench.a, bench.b, 40.0)
    other = bench.want(bench.c, bench.d, 40.0)
    assert bench.references == [bench.b]
    bench.ask_to_stop(bench.b)
    assert bench.run_until(lambda: bench.b in bench.stopped, 10.0)
    bench.kill(bench.b)
    ended = bench.finish()
    assert (ended[own].state, ended[other].state) == (DealState.ABORTED, DealState.COMPLETED)


def test_w5_a_word_that_comes_after_that_of_the_end_does_not_revive_a_deal():
    agent = SimulatedCluster({"E001": 0.8, "E002": 0.8, "E003": 0.8}).agents["E003"]
    running = deal("d", "E001", "E002")
    over = replace(running, state=DealState.COMPLETED, sequence=10)
    for heard in (over, running):
        agent.handle(Received(heard), NOW_NS)
    assert agent.snapshot(NOW_NS).open_deals == {}
