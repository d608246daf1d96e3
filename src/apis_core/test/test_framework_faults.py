"""What the software itself can fail at becomes a fault, and the matrix acts (11.4, W23)."""

from __future__ import annotations

import pytest
from converter_bench import origin
from deal_bench import DealBench
from simulated_cluster import IDLE, SimulatedCluster

from apis_core.config.timing import Timing
from apis_core.converter.driver_refusals import DriverRefusals
from apis_core.events import (
    Command,
    InternalErrorOccurred,
    JournalFailed,
    PublishFault,
    Received,
    ReplyReceived,
)
from apis_core.model.messages import ConverterReply, Fault
from apis_core.model.types import (
    ConverterError,
    ConverterMode,
    DealState,
    FaultCategory,
    FaultExtent,
    FaultLevel,
    OperationMode,
)
from apis_core.model.units import s_from_ns


@pytest.fixture
def bench():
    return DealBench()


def codes(bench, unit_id):
    return bench.snapshot(unit_id).fault_codes


def test_11_4_a_driver_that_does_not_answer_several_orders_is_a_fault(bench):
    attempts = bench.policy.request_attempts
    for number in range(attempts + 1):
        assert codes(bench, "E002") == ()  # also for many orders within a moment
        bench.feed("E002", ReplyReceived(origin(number), None))
        bench.run_for(s_from_ns(Timing.of(bench.policy).deal.answer_ns))
    bench.feed("E002", ReplyReceived(origin(99), None))
    assert codes(bench, "E002") == ("driver_unreachable",)


def test_11_4_an_answer_in_between_makes_it_begin_anew(bench):
    for number in range(10):
        reply = None if number % 2 else ConverterReply(reading=IDLE)
        bench.feed("E002", ReplyReceived(origin(number), reply))
        bench.run_for(s_from_ns(bench.policy.request_timeout_ns))
    assert codes(bench, "E002") == ()


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (JournalFailed("the disk is full"), "journal_failed"),
        (InternalErrorOccurred("ZeroDivisionError"), "uncaught"),
    ],
)
def test_11_4_trouble_of_a_unit_ends_its_deals_in_order_and_no_others(bench, event, code):
    hit = bench.want("E001", "E002", 60.0)
    spared = bench.want("E004", "E003", 60.0)
    bench.run_for(60.0)
    assert bench.state(hit) is DealState.RUNNING
    bench.feed("E002", event)
    assert codes(bench, "E002") == (code,)
    deals = bench.finish()
    assert deals[hit].state is DealState.ABORTED
    assert code in deals[hit].reason
    assert deals[spared].state is DealState.COMPLETED


def test_11_4_a_grid_master_with_a_broken_journal_leaves_office(bench):
    old_id = bench.master_id
    bench.feed(old_id, JournalFailed("the disk is full"))
    assert bench.snapshot(old_id).grid_master is None
    bench.run_for(15.0)
    assert bench.master_id != old_id


def test_11_2_a_fault_that_others_see_of_a_unit_is_acted_upon_by_that_unit(bench):
    hit = bench.want("E001", "E002", 60.0)
    bench.run_for(60.0)
    bystander = next(u for u in ("E003", "E004") if u != bench.master_id)
    seen = Fault(
        unit_id="E002",
        reporter_id=bystander,
        category=FaultCategory.HARDWARE,
        extent=FaultExtent.LOCAL,
        level=FaultLevel.ERROR,
        code="smoke",
        message="there is smoke",
    )
    bench.feed("E002", Received(seen))
    assert codes(bench, "E002") == ("smoke",)
    deals = bench.finish()
    assert deals[hit].reason == "E002: smoke: there is smoke"


# --- a grid master that is new ---


def test_w23_faults_are_told_again_to_a_new_grid_master(bench):
    teller = next(u for u in bench.agents if u != bench.master_id)
    agent, old_id = bench.agents[teller], bench.master_id
    told: list[Fault] = []
    keep = bench._do

    def watch(unit_id, effects):
        told.extend(e.fault for e in effects if isinstance(e, PublishFault) and unit_id == teller)
        keep(unit_id, effects)

    bench._do = watch
    news = agent._fault_handler.raise_local("broken", "it is broken", bench.now_ns)
    assert [effect for effect in news if not isinstance(effect, Command)]  # and nobody hears it
    bench.run_for(7.0)
    assert not told
    bench.kill(old_id)
    bench.run_for(12.0)
    (again,) = told
    assert again.code == "broken"
    assert 7e9 < again.age_ns < 19e9
    new = bench.agents[bench.master_id]
    until_ns = new._state.faults._until_ns[teller, "broken", False][1]
    assert until_ns == pytest.approx(
        agent._state.faults._until_ns[teller, "broken", False][1], abs=1e9
    )


def test_w23_what_is_told_again_lasts_no_longer_for_that(bench):
    agent = bench.agents["E003"]
    agent._fault_handler.raise_local("broken", "it is broken", bench.now_ns)
    until_ns = agent._state.faults._until_ns["E003", "broken", False][1]
    (again,) = agent._state.faults.to_tell_again(bench.now_ns + 10**9)
    assert not agent._state.faults.add(again, bench.now_ns + 10**9)
    assert agent._state.faults._until_ns["E003", "broken", False][1] == until_ns
    late = bench.now_ns + bench.policy.local_quarantine_ns
    assert agent._state.faults.to_tell_again(late) == []


def test_11_4_a_unit_whose_driver_does_not_obey_soon_begins_no_deals(bench):
    """Its lifecycle node was deactivated, say: WAIT is obeyed, and readings go on."""
    unit_id = "E001"
    others = ConverterMode.WAIT, ConverterMode.UNKNOWN

    def refuses(who, order):
        if who != unit_id or order.mode in others:
            return None
        return ConverterReply(error=ConverterError.REFUSED, message="is not active", reading=IDLE)

    bench.mishap = refuses
    reasons = []
    for round_ in range(6):
        deal_id = bench.want("E002", unit_id, 10.0 + round_, after_s=20.0)
        assert deal_id not in bench.deals or bench.deals[deal_id].state is not DealState.RUNNING
        conditions = bench.agents[unit_id]._state.trading_conditions(
            bench.now_ns, (OperationMode.SOFT_STOP,)
        )
        reasons.append(conditions.why_not)
    aborted = [deal for deal in bench.deals.values() if deal.state is DealState.ABORTED]
    assert len(aborted) <= 3
    assert "its driver does not obey: is not active" in reasons


class Unanswering(SimulatedCluster):
    """A cluster in which orders to the drivers of some units are lost.

    Attributes:
        lost_ids: Those units.
    """

    def __init__(self, lost_ids: set[str]) -> None:
        self.lost_ids = lost_ids
        super().__init__({"E001": 0.9, "E002": 0.4})

    def _deliver(self, sender, to, event) -> None:
        if isinstance(event, ReplyReceived) and sender == to and to in self.lost_ids:
            event = ReplyReceived(event.origin, None)
        super()._deliver(sender, to, event)


@pytest.mark.parametrize("late_id", ["E001", "E002"])
def test_5_1_no_unit_deals_before_its_driver_has_answered_once(late_id):
    """Readings come, but the driver's service is not found yet: its deal would be aborted."""
    cluster = Unanswering({late_id})
    cluster.run_for(10.0)
    status = cluster.agents[late_id]._publisher.last
    assert status.not_dealing_reason == "its driver has not answered yet"
    cluster.run_for(50.0)
    assert cluster.deals == {}

    cluster.lost_ids = set()

    assert cluster.run_until(lambda: bool(cluster.completed()), 1_800.0)
    assert list(cluster.deals.values()) == cluster.completed()


def test_11_4_refusals_in_a_row_make_longer_and_longer_pauses_and_then_a_fault():
    refusals = DriverRefusals()
    no = ConverterReply(error=ConverterError.REFUSED, message="is not active")
    assert not refusals.note(no, 10, 100)
    assert refusals.why_not(109) == "its driver does not obey: is not active"
    assert refusals.why_not(110) == ""
    assert not refusals.note(None, 10, 200)
    assert (refusals.why_not(219), refusals.why_not(220)) != ("", "")
    assert refusals.note(no, 10, 300)
    assert refusals.why_not(339) != ""
    assert not refusals.note(ConverterReply(), 10, 320)
    assert (refusals.why_not(320), refusals.count) == ("", 0)


def test_what_protects_is_told_as_a_warning():
    bench = DealBench()
    assert bench.warnings == []  # a start is none
    master_id = bench.master_id
    giver, taker = [unit_id for unit_id in bench.plants if unit_id != master_id][:2]
    bench.want(giver, taker, 20.0)
    assert bench.warnings == []
    bench.kill(taker)
    bench.finish()
    assert any("aborted" in text for text in bench.warnings)
    bench.warnings.clear()
    bench.want(giver, master_id, 20.0)
    bench.kill(master_id)
    bench.run_for(60.0)
    assert any("stops its converter" in text for text in bench.warnings)
