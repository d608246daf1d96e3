"""A vote that splits must not stay split, as it would if candidates kept their voters."""

from random import Random

import pytest

from apis_core.election import Election, ElectionTiming
from apis_core.events import Broadcast
from apis_core.messages import GridMasterClaim, LeaseGrant
from apis_core.units import SECOND_NS

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
