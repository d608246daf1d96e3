"""Several elections at once: a vote that splits must not stay split, as it would if candidates
kept their voters, and a cluster that starts has one election.
"""

from random import Random

import pytest

from apis_core.cluster.election import Election
from apis_core.config.timing import ElectionTiming
from apis_core.events import Broadcast
from apis_core.model.messages import GridMasterClaim, LeaseGrant
from apis_core.model.units import SECOND_NS

MEMBERS = ("E001", "E002", "E003", "E004")
TIMING = ElectionTiming(heartbeat_ns=SECOND_NS, lease_ns=4 * SECOND_NS)
STEP_NS = SECOND_NS // 20
SPLIT_S = 3.0  # in which only E001 and E003, and only E002 and E004, hear each other


@pytest.mark.parametrize("seed", range(20))
def test_a_split_vote_is_resolved_soon(seed: int):
    elections = {
        unit_id: Election(
            unit_id=unit_id,
            instance_id=unit_id,
            member_ids=MEMBERS,
            timing=TIMING,
            random=Random(f"{seed}{unit_id}"),
            now_ns=0,
            may_stand=unit_id in ("E001", "E002"),
        )
        for unit_id in MEMBERS
    }
    pair = {"E001": "a", "E003": "a", "E002": "b", "E004": "b"}
    post: list[tuple[str, str, GridMasterClaim | LeaseGrant]] = []
    now_ns = 0
    while not any(election.is_master(now_ns) for election in elections.values()):
        now_ns += STEP_NS
        assert now_ns < 30 * SECOND_NS, "nobody was elected"
        arrived, post = post, []
        effects = {unit_id: election.tick(now_ns) for unit_id, election in elections.items()}
        for sender, to, message in arrived:
            if now_ns < SPLIT_S * SECOND_NS and pair[sender] != pair[to]:
                continue
            if isinstance(message, GridMasterClaim):
                effects[to] += elections[to].hear_claim(message, now_ns)
            else:
                effects[to] += elections[to].hear_grant(message, now_ns)
        for sender, list_ in effects.items():
            for effect in list_:
                if isinstance(effect, Broadcast):
                    post += [(sender, to, effect.message) for to in MEMBERS if to != sender]


@pytest.mark.parametrize("seed", range(20))
def test_a_cluster_whose_members_start_seconds_apart_elects_once(seed: int):
    """As on a busy machine: who starts first hears a majority before the last one is there."""
    random = Random(seed)
    starts_ns = {unit_id: round(random.uniform(0, 6) * SECOND_NS) for unit_id in MEMBERS}
    starts_ns[random.choice(MEMBERS)] = 0
    elections: dict[str, Election] = {}
    post: list[tuple[int, str, GridMasterClaim | LeaseGrant]] = []
    for now_ns in range(0, 20 * SECOND_NS, STEP_NS):
        for rank, unit_id in enumerate(MEMBERS):
            if now_ns >= starts_ns[unit_id] and unit_id not in elections:
                elections[unit_id] = Election(
                    unit_id=unit_id,
                    instance_id=unit_id,
                    member_ids=MEMBERS,
                    timing=TIMING,
                    random=Random(f"{seed}{unit_id}"),
                    now_ns=now_ns,
                    rank=rank,
                )
        effects = {i: one.tick(now_ns, len(elections)) for i, one in elections.items()}
        for _, to, message in [letter for letter in post if letter[0] <= now_ns]:
            if to not in elections:
                continue  # nobody is there to hear it
            if isinstance(message, GridMasterClaim):
                effects[to] += elections[to].hear_claim(message, now_ns)
            else:
                effects[to] += elections[to].hear_grant(message, now_ns)
        post = [letter for letter in post if letter[0] > now_ns]
        for sender, list_ in effects.items():
            for effect in list_:
                if isinstance(effect, Broadcast):
                    late_ns = now_ns + round(random.uniform(0.05, 0.8) * SECOND_NS)
                    post += [(late_ns, to, effect.message) for to in MEMBERS if to != sender]
        assert all(one.term <= 1 for one in elections.values())
    assert sum(one.is_master(now_ns) for one in elections.values()) == 1
