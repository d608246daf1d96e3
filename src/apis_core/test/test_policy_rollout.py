"""A changed policy, hwConfig or scenario comes into force while the grid runs (W30, 3.5)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from simulated_cluster import SimulatedCluster

from apis_core.config.policy import parse_policy, policy_hash
from apis_core.config.policy_text import policy_file
from apis_core.config.scenario import parse_scenario
from apis_core.events import (
    ConfigurationRefused,
    FollowMembers,
    HardwareRead,
    PolicyAdopted,
    PolicyPrepared,
    PolicyRead,
    PublishFault,
    Received,
    Record,
    ScenarioRead,
)
from apis_core.model.messages import OfferKind, PolicyOffer
from apis_core.model.types import ConverterMode, FaultLevel
from apis_core.unit.policy_rollout import PolicyRollout

SOCS = {"E001": 0.80, "E002": 0.80, "E003": 0.80}  # nobody asks
TRADING = {"E001": 0.92, "E002": 0.50, "E003": 0.80}
UP_S = 15.0
BRANCHES = """
    "gridTopologyBasedEvaluation" : {
        "enabled" : true,
        "branchIds" : ["b"],
        "branchAssociation" : { "b" : {
            "forwardUnitIds" : ["E001"], "backwardUnitIds" : ["E002", "E003", "E004"] } },
        "branchCurrentCapacityA" : { "b" : 7.5 }
    },"""


class Cluster(SimulatedCluster):
    """A cluster whose policy may change.

    Attributes:
        offered: Deliver no word of a kind to a unit: (kind, unit) pairs.
    """

    def __init__(self, socs=SOCS, **changes) -> None:
        super().__init__(dict(socs), **changes)
        self.withheld: set[tuple[OfferKind, str]] = set()
        self.raised: list[str] = []
        self.members: dict[str, tuple[str, ...]] = {}
        self.run_for(UP_S)

    def make_trade(self) -> None:
        for unit_id, soc_ratio in TRADING.items():
            self.plants[unit_id].soc_ratio = soc_ratio

    def newer(self, version=1, **changes):
        return replace(self.policy, version=version, **changes)

    def versions(self) -> dict[str, int]:
        return {unit.unit_id: unit.policy.version for unit in self.snapshots()}

    def all_at(self, version: int) -> bool:
        return set(self.versions().values()) == {version}

    @property
    def master_id(self) -> str:
        (unit_id,) = self.leaders()
        return unit_id

    def _deliver(self, sender, to, event) -> None:
        message = getattr(event, "message", None)
        if isinstance(message, PolicyOffer) and (message.kind, to) in self.withheld:
            return
        super()._deliver(sender, to, event)

    def _do(self, unit_id, effects) -> None:
        for effect in effects:
            if isinstance(effect, PublishFault):
                self.raised.append(f"{effect.fault.level.name} {effect.fault.message}")
            if isinstance(effect, FollowMembers):
                self.members[unit_id] = effect.unit_ids
        super()._do(unit_id, effects)


def followers(cluster: Cluster) -> list[str]:
    return [unit_id for unit_id in cluster.agents if unit_id != cluster.master_id]


# --- a policy as a file ---


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"version": 7, "discharge_soc_min_ratio": 0.07, "charge_soc_max_ratio": 0.953},
        {"total_deal_current_max_a": 12.5, "fixed_unit_id": "E001"},
    ],
)
def test_3_1_a_policy_written_as_a_file_reads_as_the_same_policy(policy, changes):
    policy = replace(policy, **changes)
    again = parse_policy(policy_file(policy), "again")
    assert again == policy
    assert policy_hash(again) == policy_hash(policy)


def test_3_1_branches_written_as_a_file_read_as_the_same_branches(policy):
    text = policy_file(policy).replace('"safety": {', '"safety": {' + BRANCHES, 1)
    text = text.replace('"gridTopologyBasedEvaluation": {\n   "enabled": false\n  }', '"#": 0')
    with_branches = parse_policy(text, "branches")
    assert with_branches.topology is not None
    assert parse_policy(policy_file(with_branches), "again") == with_branches


# --- the roll-out ---


def test_w30_a_newer_policy_comes_into_force_on_all_units():
    cluster = Cluster()
    newer = cluster.newer(deal_current_a=1.0)
    cluster.feed(followers(cluster)[0], PolicyRead(newer))
    assert cluster.run_until(lambda: cluster.all_at(1), 60.0)
    hashes = {unit.policy_hash for unit in cluster.snapshots()}
    assert hashes == {policy_hash(newer)}
    assert {unit.slot_capacity for unit in cluster.snapshots()} == {2}  # 2.3 A / 1 A
    cluster.make_trade()
    assert cluster.run_until(lambda: bool(cluster.completed()), 3_600.0)
    assert cluster.completed()[0].current_a == 1.0


def test_w30_each_unit_writes_a_policy_down_before_a_majority_goes_by_it():
    cluster = Cluster()
    cluster.feed(cluster.master_id, PolicyRead(cluster.newer()))
    assert cluster.run_until(lambda: 1 in cluster.versions().values(), 60.0)
    ready = [
        unit_id
        for unit_id, records in cluster.journals.items()
        if any(isinstance(record.entry, PolicyPrepared) for record in records)
    ]
    assert sorted(ready) == sorted(cluster.agents)


def test_w30_nothing_changes_while_a_deal_runs_and_none_begins_meanwhile():
    cluster = Cluster(TRADING)
    flows = lambda: ConverterMode.DISCHARGE in cluster.modes()  # noqa: E731
    assert cluster.run_until(flows, 600.0)
    cluster.feed("E003", PolicyRead(cluster.newer()))
    known = set(cluster.deals)
    while not cluster.all_at(0) or cluster.modes() != {ConverterMode.WAIT}:
        cluster.run_for(5.0)
        if 1 in cluster.versions().values():
            break
        assert set(cluster.deals) == known
    assert all(deal.state.is_over for deal in cluster.deals.values())
    assert cluster.modes() == {ConverterMode.WAIT}
    assert cluster.run_until(lambda: cluster.all_at(1), 30.0)
    assert len(cluster.completed()) == len(known)


def test_w30_a_unit_that_was_away_catches_up():
    cluster = Cluster()
    away = followers(cluster)[0]
    cluster.kill(away)
    cluster.feed(cluster.master_id, PolicyRead(cluster.newer()))
    assert cluster.run_until(lambda: cluster.all_at(1), 90.0)
    cluster.start(away)  # its file still says version 0
    assert cluster.versions()[away] == 0
    assert cluster.run_until(lambda: cluster.all_at(1), 60.0)
    cluster.kill(away)
    cluster.start(away)
    assert cluster.versions()[away] == 1  # from its journal


def test_w30_a_file_that_changed_while_a_unit_was_away_is_offered_not_obeyed():
    cluster = Cluster()
    away = followers(cluster)[0]
    cluster.feed(away, PolicyRead(cluster.newer(version=1)))
    cluster.withheld = {(OfferKind.ADOPT, unit_id) for unit_id in cluster.agents}
    ready = policy_hash(cluster.newer(version=1))
    assert cluster.run_until(
        lambda: cluster.snapshot(away).coming_policy_hash == ready, 60.0
    )  # written down, and not in force
    cluster.kill(away)
    newest = cluster.newer(version=2)
    cluster.make_settings = lambda unit_id: replace(
        SimulatedCluster.make_settings(cluster, unit_id), policy=newest
    )
    cluster.start(away)
    assert cluster.versions()[away] == 0
    assert cluster.snapshot(away).coming_policy_hash == ready
    cluster.withheld.clear()
    assert cluster.run_until(lambda: cluster.all_at(2), 180.0)


def test_w30_what_a_unit_was_ready_for_is_forgotten_if_it_is_older_than_what_holds():
    """Of a journal that begins with a file's policy unwritten."""
    cluster = Cluster()
    unit_id = followers(cluster)[0]
    state, older = cluster.agents[unit_id]._state, cluster.newer(version=0)
    roll_out = PolicyRollout(state, older, 0, cluster.now_ns)
    assert roll_out.coming_hash == ""
    assert roll_out.tick(roll_out.wake_ns, is_grid_master=True, is_bus_free=True) == []


def test_w30_a_grid_master_lost_in_the_middle_leaves_it_to_the_next():
    cluster = Cluster()
    old_id = cluster.master_id
    cluster.withheld = {(OfferKind.ADOPT, unit_id) for unit_id in cluster.agents}
    cluster.feed(old_id, PolicyRead(cluster.newer()))
    assert cluster.run_until(lambda: 1 in cluster.versions().values(), 60.0)
    cluster.kill(old_id)
    cluster.withheld.clear()
    assert cluster.run_until(lambda: cluster.all_at(1), 90.0)
    cluster.start(old_id)
    assert cluster.run_until(lambda: cluster.all_at(1), 60.0)


def test_w30_a_unit_alone_with_a_newer_policy_brings_it_in():
    """It was told that it holds, and nobody else was; the others' majority elects its like."""
    cluster = Cluster()
    ahead = followers(cluster)[0]
    newer = cluster.newer()
    cluster.journals[ahead] += [_adopted(newer)]
    cluster.kill(ahead)
    cluster.start(ahead)
    assert cluster.versions()[ahead] == 1
    assert cluster.run_until(lambda: cluster.all_at(1), 120.0)


def test_w30_without_a_majority_nothing_changes():
    cluster = Cluster()
    master_id = cluster.master_id
    cluster.withheld = {(OfferKind.PREPARE, unit_id) for unit_id in followers(cluster)}
    cluster.feed(master_id, PolicyRead(cluster.newer()))
    cluster.run_for(90.0)
    assert cluster.all_at(0)
    assert cluster.run_until(lambda: bool(cluster.raised), 120.0)  # and does not wait for ever
    assert "is not ready" in cluster.raised[0]
    cluster.make_trade()
    assert cluster.run_until(lambda: bool(cluster.completed()), 3_600.0)


def test_w30_an_older_or_an_equal_version_is_no_news():
    cluster = Cluster()
    cluster.feed("E001", PolicyRead(replace(cluster.policy, deal_current_a=1.0)))
    cluster.run_for(60.0)
    assert {unit.policy.deal_current_a for unit in cluster.snapshots()} == {2.0}
    (word,) = [line for line in cluster.trace if "its policy file" in line]
    assert word.endswith("its version is 0, it must be above 0, which holds")
    lines = len(cluster.trace)
    cluster.feed("E001", PolicyRead(cluster.policy))
    assert not [line for line in cluster.trace[lines:] if "policy" in line]


@pytest.mark.parametrize("spoiled", ["text", "policy_hash"])
def test_w30_a_policy_that_makes_no_sense_is_ignored(spoiled):
    cluster = Cluster()
    newer = cluster.newer()
    offer = PolicyOffer(
        kind=OfferKind.ADOPT,
        unit_id="E002",
        term=1,
        policy_version=1,
        policy_hash=policy_hash(newer),
        text=policy_file(newer),
    )
    cluster.feed("E001", Received(replace(offer, **{spoiled: "{"})))
    cluster.run_for(30.0)
    assert cluster.all_at(0)
    assert any("ignores the policy of E002" in line for line in cluster.trace)


# --- members ---


def test_w30_members_change_one_at_a_time():
    cluster = Cluster()
    both = cluster.newer(member_unit_ids=("E001", "E002", "E003", "E004", "E005"))
    cluster.feed("E001", PolicyRead(both))
    assert cluster.run_until(lambda: bool(cluster.raised), 60.0)
    assert "add or remove E004, E005 one after the other" in cluster.raised[0]
    assert cluster.raised[0].startswith(FaultLevel.WARN.name)
    assert cluster.all_at(0)


def test_w30_a_unit_joins():
    cluster = Cluster()
    four = (*cluster.policy.member_unit_ids, "E004")
    newer = cluster.newer(member_unit_ids=four)
    cluster.feed("E001", PolicyRead(newer))
    assert cluster.run_until(lambda: cluster.all_at(1), 60.0)
    assert cluster.members == dict.fromkeys(SOCS, four)
    cluster.policy = newer
    cluster.plants["E004"] = replace(cluster.plants["E003"], soc_ratio=0.95)
    cluster.journals["E004"] = []
    cluster.start("E004")
    is_known = lambda: cluster.snapshot("E004").grid_master_id  # noqa: E731
    assert cluster.run_until(lambda: bool(is_known()), 30.0)
    assert {unit.majority for unit in cluster.snapshots()} == {3}


@pytest.mark.parametrize("is_master", [True, False])
def test_w30_a_unit_leaves(is_master):
    cluster = Cluster({**SOCS, "E004": 0.7})
    leaver = cluster.master_id if is_master else followers(cluster)[0]
    rest = tuple(unit_id for unit_id in cluster.policy.member_unit_ids if unit_id != leaver)
    cluster.feed("E001", PolicyRead(cluster.newer(member_unit_ids=rest)))
    assert cluster.run_until(lambda: cluster.all_at(1), 60.0)
    cluster.run_for(20.0)
    assert cluster.master_id in rest
    assert cluster.status(leaver).not_dealing_reason != ""
    others = [cluster.snapshot(unit_id).peers for unit_id in rest]
    assert not any(leaver in peers for peers in others)


# --- the other files ---


def test_3_5_another_scenario_holds_at_once():
    cluster = Cluster()
    assert cluster.snapshot("E001").band == "sufficient"
    text = '{"00:00:00-24:00:00" : {"batteryStatus" : {"-" : "other"}}}'
    cluster.feed("E001", ScenarioRead(parse_scenario(text, "scenario.json")))
    assert cluster.snapshot("E001").band == "other"


def test_3_5_another_hwconfig_holds_once_the_converter_rests():
    cluster = Cluster(TRADING)
    smaller = replace(cluster.hardware, grid_current_capacity_a=2.1)
    assert cluster.run_until(lambda: ConverterMode.DISCHARGE in cluster.modes(), 600.0)
    cluster.feed("E001", HardwareRead(smaller))
    cluster.run_for(10.0)
    assert cluster.snapshot("E001").hardware is cluster.hardware
    assert cluster.run_until(lambda: cluster.snapshot("E001").hardware is smaller, 1_200.0)
    assert cluster.modes() == {ConverterMode.WAIT}


def test_3_5_a_file_that_is_wrong_keeps_the_old_one_and_is_a_warning():
    cluster = Cluster()
    message = "policy.json: memberUnitIds: required"
    cluster.feed("E001", ConfigurationRefused(message))
    assert cluster.raised == [f"WARN {message}"]
    cluster.run_for(10.0)
    assert cluster.snapshot("E001").fault_codes == ()  # nothing else follows


def _adopted(policy):
    return Record(PolicyAdopted(policy_file(policy)))
