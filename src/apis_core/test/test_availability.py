"""Who may act without a majority: `availability`, and units that are not heard (W3)."""

from __future__ import annotations

from simulated_cluster import SimulatedCluster

from apis_core.config.timing import Timing
from apis_core.events import Answer, RequestReceived
from apis_core.model.messages import Deal, DealSubmission
from apis_core.model.types import DealState, OperationMode

SOCS = {"E001": 0.92, "E002": 0.50, "E003": 0.80, "E004": 0.80, "E005": 0.80}
FEW = {"E001", "E002"}


class Apart(SimulatedCluster):
    """Two units that would deal are cut off from the other three before anybody deals."""

    def __init__(self, **changes) -> None:
        super().__init__(dict(SOCS), **changes)
        self.lost = lambda sender, to: (sender in FEW) is not (to in FEW)

    def masters(self) -> set[str]:
        return set(self.leaders())


def test_9_3_a_part_without_a_majority_does_not_deal():
    cluster = Apart()
    cluster.run_for(600.0)
    assert not cluster.deals
    assert not cluster.masters() & FEW


def test_9_3_available_a_minority_goes_on_after_the_bus_has_been_dead_for_long():
    cluster = Apart(availability=True)
    dead_s = Timing.of(cluster.policy).dead_bus_ns / 1e9
    cluster.run_for(dead_s - 1.0)
    assert not cluster.masters() & FEW
    assert cluster.run_until(lambda: bool(cluster.completed()), 2_400.0)
    (deal,) = cluster.completed()
    assert set(deal.unit_ids) == FEW
    assert len(cluster.masters()) == 2  # each part has its own


def test_9_3_available_a_bus_that_is_up_belongs_to_somebody():
    cluster = Apart(availability=True)
    cluster.watchers.append(lambda v: setattr(v, "bus_v", 350.0))
    cluster.run_for(300.0)
    assert not cluster.masters() & FEW


def test_9_3_available_parts_that_hear_each_other_again_have_one_grid_master():
    cluster = Apart(availability=True)
    assert cluster.run_until(lambda: len(cluster.masters()) == 2, 120.0)
    cluster.lost = lambda _sender, _to: False
    assert cluster.run_until(lambda: len(cluster.masters()) == 1, 60.0)
    cluster.run_for(60.0)
    assert len(cluster.masters()) == 1
    known = {unit.grid_master_id for unit in cluster.snapshots()}
    assert known == cluster.masters()


def test_9_3_one_unit_alone_elects_nobody():
    cluster = Apart(availability=True)
    cluster.lost = lambda sender, to: "E001" in (sender, to)
    cluster.run_for(300.0)
    assert "E001" not in cluster.masters()


# --- suspect before lost ---


def test_w3_a_silent_unit_is_suspect_first_and_lost_later():
    cluster = SimulatedCluster(dict(SOCS), operation_mode=OperationMode.SOFT_STOP)
    cluster.run_for(20.0)
    cluster.kill("E005")
    seen = set()

    def look(v):
        last = v.status("E001")
        seen.add((last.suspect_unit_ids, last.lost_unit_ids))

    cluster.watchers.append(look)
    cluster.run_for(40.0)
    assert ((), ()) in seen
    assert (("E005",), ()) in seen
    assert cluster.status("E001").lost_unit_ids == ("E005",)
    cluster.start("E005")
    cluster.run_for(10.0)
    assert cluster.status("E001").lost_unit_ids == ()


def test_w3_no_deal_begins_with_a_unit_that_is_suspect():
    cluster = SimulatedCluster(dict(SOCS), operation_mode=OperationMode.SOFT_STOP)
    cluster.run_for(20.0)
    (master_id,) = cluster.leaders()
    silent = next(unit_id for unit_id in ("E001", "E002") if unit_id != master_id)
    agent = cluster.agents[master_id]
    status, _ = agent._state.peers[silent]
    agent._state.peers[silent] = (status, cluster.now_ns - agent._state.timing.suspect_ns)
    deal = Deal(
        deal_id="d",
        request_unit_id="E002",
        accept_unit_id="E001",
        discharge_unit_id="E001",
        charge_unit_id="E002",
        energy_wh=50.0,
        current_a=2.0,
    )
    effects = agent.handle(RequestReceived("x", DealSubmission(deal=deal)), cluster.now_ns)
    (answer,) = (effect for effect in effects if isinstance(effect, Answer))
    assert answer.reply.message == f"{silent} has not been heard for a while"


def test_w3_a_unit_that_does_not_answer_is_booked_and_nobody_else():
    cluster = SimulatedCluster({"E001": 0.92, "E002": 0.50, "E003": 0.80})
    running = lambda: any(d.state is DealState.RUNNING for d in cluster.deals.values())  # noqa: E731
    assert cluster.run_until(running, 900.0)
    (master_id,) = cluster.leaders()
    victim = next(u for u in ("E001", "E002") if u != master_id)
    cluster.kill(victim)

    def is_booked() -> bool:
        known = cluster.snapshot(master_id).faults
        return (victim, "no_answer") in [(fault.unit_id, fault.code) for fault, _ in known]

    assert cluster.run_until(is_booked, 120.0)
    assert not any("no_answer" in unit.fault_codes for unit in cluster.snapshots())
    cluster.start(victim)
    cluster.run_for(5.0)
    assert cluster.leaders() == [master_id]
