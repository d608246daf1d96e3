"""One unit's part in the election: claim or grant or time in, effects out."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from apis_core.cluster.election import Election, Role
from apis_core.config.timing import ElectionTiming
from apis_core.events import Broadcast, LeaseGranted, Log, Record
from apis_core.model.messages import ClaimKind, GridMasterClaim, LeaseGrant
from apis_core.model.types import NOBODY
from apis_core.model.units import NEVER_NS, SECOND_NS

MEMBERS = ("E001", "E002", "E003")
TIMING = ElectionTiming(heartbeat_ns=SECOND_NS, lease_ns=4 * SECOND_NS)
NOW_NS = 100 * SECOND_NS
S = SECOND_NS


def election(**changes) -> Election:
    fields = {
        "unit_id": "E001",
        "instance_id": "E001#1",
        "member_ids": MEMBERS,
        "timing": TIMING,
        "random": Random(1),
        "now_ns": NOW_NS,
        "policy_hash": "aa",
    }
    return Election(**{**fields, **changes})


def claim(unit_id="E002", term=1, kind=ClaimKind.MASTER, sequence=1, policy_hash="aa"):
    return GridMasterClaim(
        kind=kind,
        unit_id=unit_id,
        instance_id=f"{unit_id}#1",
        term=term,
        sequence=sequence,
        lease_ns=4 * S,
        policy_hash=policy_hash,
    )


def grant(unit_id="E002", term=1, sequence=1, granted=True, known_term=1, to="E001"):
    return LeaseGrant(
        unit_id=unit_id,
        grid_master_id=to,
        term=term,
        sequence=sequence,
        granted=granted,
        known_term=known_term,
    )


def candidate(**changes) -> tuple[Election, int]:
    """One that has just claimed, and when."""
    one = election(**changes)
    now_ns = one.wake_ns
    one.tick(now_ns)
    assert one.role is Role.CANDIDATE
    return one, now_ns


def master() -> tuple[Election, int]:
    one, now_ns = candidate()
    one.hear_grant(grant(), now_ns + 1)
    assert one.is_master(now_ns + 1)
    return one, now_ns


def answer(effects) -> LeaseGrant:
    (grant_,) = [
        e.message
        for e in effects
        if isinstance(e, Broadcast) and isinstance(e.message, LeaseGrant)
    ]
    return grant_


def claims(effects) -> list[ClaimKind]:
    messages = [effect.message for effect in effects if isinstance(effect, Broadcast)]
    return [message.kind for message in messages if isinstance(message, GridMasterClaim)]


def test_9_3_a_unit_that_hears_nobody_stands_and_writes_its_own_vote_down_first():
    one = election()
    assert one.tick(one.wake_ns - 1) == []
    effects = one.tick(one.wake_ns)
    assert effects[0] == Record(LeaseGranted(1, "E001"))
    assert claims(effects) == [ClaimKind.CANDIDATE]
    assert one.role is Role.CANDIDATE


def test_9_3_a_majority_makes_the_grid_master_and_the_others_hear_it_at_once():
    one, now_ns = candidate()
    effects = one.hear_grant(grant(), now_ns + S)
    assert claims(effects) == [ClaimKind.MASTER]
    assert Log("is the grid master of term 1") in effects
    assert one.is_master(now_ns + S)
    assert one.grid_master_id(now_ns + S) == "E001"


def test_9_3_the_lease_counts_from_when_the_claim_was_sent_and_ends_a_tenth_early():
    one, now_ns = candidate()
    one.hear_grant(grant(), now_ns + S)
    assert one.is_master(now_ns + round(3.6 * S) - 1)
    assert not one.is_master(now_ns + round(3.6 * S))


def test_9_3_grants_that_come_when_the_lease_is_over_make_no_grid_master():
    one, now_ns = candidate()
    assert one.hear_grant(grant(), now_ns + 4 * S) == []
    assert not one.is_master(now_ns + 4 * S)


@pytest.mark.parametrize(
    "vote",
    [
        grant("E009"),  # no member
        grant(to="E003"),  # not for us
        grant(term=0, known_term=0),  # of an older term
        grant(sequence=77),  # of a claim that we did not send
        grant(granted=False),
        grant("E001"),  # our own vote is counted already
    ],
)
def test_9_3_a_vote_that_does_not_count(vote):
    one, now_ns = candidate()
    one.hear_grant(vote, now_ns + 1)
    assert one.role is Role.CANDIDATE


def test_w6_losing_is_silent_and_teaches_the_newer_term():
    one, now_ns = candidate()
    assert one.hear_grant(grant(granted=False, known_term=7), now_ns + 1) == []
    assert (one.role, one.term) == (Role.FOLLOWER, 7)
    assert one.hear_grant(grant(), now_ns + 2) == []  # an old vote no longer counts
    assert one.role is Role.FOLLOWER


def test_a_follower_does_not_count_votes():
    one, now_ns = candidate()
    sent = one.hear_claim(claim(term=2), now_ns + 5 * S)
    assert answer(sent).granted
    assert one.role is Role.FOLLOWER
    assert one.hear_grant(grant(term=2), now_ns + 5 * S) == []


def test_a_claim_is_granted_written_down_before_it_is_answered_and_only_once():
    one = election()
    effects = one.hear_claim(claim(), NOW_NS)
    assert effects[0] == Record(LeaseGranted(1, "E002"))
    assert answer(effects).granted
    again = one.hear_claim(claim(sequence=2), NOW_NS + 1)
    assert [type(effect) for effect in again] == [Broadcast]  # renewing is nothing to write down
    assert answer(again).granted
    assert one.grid_master_id(NOW_NS + 4 * S) == "E002"
    assert one.grid_master_id(NOW_NS + 4 * S + 1) == NOBODY


@pytest.mark.parametrize(
    ("second", "at_s", "reason"),
    [
        (claim("E003", term=1), 1.0, "E002 has the lease for another 3.0 s"),
        (claim("E003", term=2), 1.0, "E002 has the lease for another 3.0 s"),
        (claim("E003", term=1), 5.0, "E002 has this unit's vote in term 1"),
        (claim("E003", term=0), 5.0, "term 1 has begun"),
        (claim("E002", term=2, policy_hash="bb"), 1.0, "its policy bb differs from ours, aa"),
        (claim("E003", term=2), 5.0, ""),
        (claim("E002", term=2), 1.0, ""),
        (claim("E002", term=2, policy_hash=""), 1.0, ""),
    ],
)
def test_9_3_one_vote_a_term_and_no_second_lease_while_the_first_runs(second, at_s, reason):
    one = election()
    one.hear_claim(claim(), NOW_NS)
    reply = answer(one.hear_claim(second, NOW_NS + round(at_s * S)))
    assert (reply.granted, reply.reason) == (not reason, reason)


@pytest.mark.parametrize("stranger", [claim("E001"), claim("E009")])
def test_our_own_claim_and_that_of_a_stranger_are_not_answered(stranger):
    assert election().hear_claim(stranger, NOW_NS) == []


@pytest.mark.parametrize(
    ("resigning", "is_free"),
    [
        (claim(kind=ClaimKind.RESIGN), True),
        (claim(kind=ClaimKind.RESIGN, term=0), False),
        (claim("E003", kind=ClaimKind.RESIGN), False),
    ],
)
def test_who_resigns_gives_its_votes_back(resigning, is_free):
    one = election()
    one.hear_claim(claim(), NOW_NS)
    assert one.hear_claim(resigning, NOW_NS + S) == []
    assert (one.grid_master_id(NOW_NS + S) == NOBODY) is is_free


def test_the_grid_master_renews_by_its_heartbeat_and_follows_itself():
    one, now_ns = master()
    assert one.wake_ns <= now_ns + 1 + S
    assert claims(one.tick(one.wake_ns)) == [ClaimKind.MASTER]
    assert one.hear_grant(grant(sequence=3), now_ns + S + 2) == []
    assert one.is_master(now_ns + S + round(3.6 * S))


def test_a_grid_master_that_no_majority_answers_gives_up_before_the_others_may():
    one, now_ns = master()
    effects = []
    while one.role is Role.MASTER:
        at_ns = one.wake_ns
        effects = one.tick(at_ns)
    assert at_ns == now_ns + round(3.6 * S)
    assert effects == [
        Log(
            "is no longer the grid master of term 1: a majority no longer answers", is_warning=True
        )
    ]
    assert one.grid_master_id(at_ns) == NOBODY


def test_a_grid_master_that_slept_gives_way_to_a_newer_one():
    one, now_ns = master()
    effects = one.hear_claim(claim(term=2), now_ns + 60 * S)
    assert (
        Log("is no longer the grid master of term 1: E002 leads term 2", is_warning=True)
        in effects
    )
    assert answer(effects).granted


def test_a_candidate_without_a_majority_gives_its_voters_back_and_backs_off_longer():
    one, now_ns = candidate()
    said = []
    while one.role is Role.CANDIDATE:
        said += claims(one.tick(one.wake_ns))
    assert said[-1] is ClaimKind.RESIGN
    assert one.role is Role.FOLLOWER
    assert one.wake_ns > now_ns


def test_a_candidate_says_so_again_as_long_as_it_stands():
    """Its first word may come before somebody can hear it."""
    one, now_ns = candidate()
    (again,) = [e.message for e in one.tick(one.wake_ns) if isinstance(e, Broadcast)]
    assert (again.kind, again.term, again.sequence) == (ClaimKind.CANDIDATE, 1, 2)
    one.hear_grant(grant(sequence=2), now_ns + S + 1)
    assert one.is_master(now_ns + S + 1)


def test_a_process_that_got_no_turn_hears_what_was_said_before_it_stands():
    one = election()
    late_ns = one.wake_ns + 5 * S
    assert one.tick(late_ns) == []
    one.hear_claim(claim(), late_ns + 1)  # it waited in the queue
    assert one.grid_master_id(late_ns + 1) == "E002"
    one = election()
    assert one.tick(one.wake_ns + 5 * S) == []
    assert claims(one.tick(one.wake_ns)) == [ClaimKind.CANDIDATE]  # there was nothing


def test_a_unit_that_has_just_started_waits_for_members_that_are_starting_too():
    one = election()
    while one.wake_ns < NOW_NS + 8 * S:
        assert one.tick(one.wake_ns, reachable=2) == []  # a majority, but not all
    while one.role is not Role.CANDIDATE:  # nobody waits for ever for who is silent
        one.tick(one.wake_ns, reachable=2)
        assert one.wake_ns < NOW_NS + 12 * S


@pytest.mark.parametrize("rank", [0, 2])
def test_when_all_have_started_the_first_stands_first(rank: int):
    one = election(rank=rank)
    began_ns = one.wake_ns
    while one.role is not Role.CANDIDATE:
        now_ns = one.wake_ns
        one.tick(now_ns, reachable=3)
    assert now_ns == began_ns + 2 * rank * S


def test_who_has_followed_a_grid_master_does_not_wait_for_all():
    one = election()
    one.hear_claim(claim(), NOW_NS)
    assert claims(one.tick(one.wake_ns, reachable=2)) == [ClaimKind.CANDIDATE]


@pytest.mark.parametrize(("leads", "expected"), [(True, [ClaimKind.RESIGN]), (False, [])])
def test_a_unit_that_ends_says_so_if_it_led_and_stands_no_more(leads: bool, expected):
    one, now_ns = master() if leads else (election(), NOW_NS)
    assert claims(one.resign(now_ns + S)) == expected
    assert one.role is Role.RETIRED
    assert one.wake_ns == NEVER_NS
    assert not one.is_master(now_ns + S)
    assert one.tick(now_ns + 999 * S) == []
    assert answer(one.hear_claim(claim(term=9), now_ns + 9 * S)).granted  # but has a vote


def test_9_1_fixed_a_unit_that_may_not_stand_never_does():
    one = election(may_stand=False)
    assert one.wake_ns == NEVER_NS
    assert one.tick(NOW_NS + 999 * S) == []


def test_after_a_restart_a_lease_that_was_granted_is_honoured_in_full():
    one = election(term=5, granted_to="E002")
    assert one.grid_master_id(NOW_NS + 4 * S - 1) == "E002"
    assert one.wake_ns >= NOW_NS + 4 * S
    reply = answer(one.hear_claim(claim("E003", term=6), NOW_NS + S))
    assert (reply.granted, reply.known_term) == (False, 5)


def test_a_unit_whose_journal_is_lost_votes_for_no_candidate_for_a_lease():
    """It may have given it in that term before, and two grid masters would have the same one."""
    one = election()
    stands = claim("E003", term=6, kind=ClaimKind.CANDIDATE)
    reply = answer(one.hear_claim(stands, NOW_NS + S))
    assert (reply.granted, reply.reason) == (
        False,
        "its journal is new: it may have voted before",
    )
    again = replace(stands, sequence=2)
    assert answer(one.hear_claim(again, NOW_NS + 4 * S)).granted


def test_nobody_leads_the_same_term_in_two_processes():
    """Found by seeds 441 and 983: one that had lost its journal said its old deals' news anew."""
    one = election()
    stands = claim("E003", kind=ClaimKind.CANDIDATE)
    assert answer(one.hear_claim(stands, NOW_NS)).granted
    assert answer(one.hear_claim(replace(stands, sequence=2), NOW_NS)).granted
    reply = answer(one.hear_claim(replace(stands, instance_id="E003#2"), NOW_NS + 5 * S))
    assert (reply.granted, reply.reason) == (False, "an earlier process of E003 stood in term 1")
    next_ = replace(stands, instance_id="E003#2", term=2)
    assert answer(one.hear_claim(next_, NOW_NS + 5 * S)).granted


@pytest.mark.parametrize(
    "heard", [claim("E003", term=6), claim("E003", term=1, kind=ClaimKind.CANDIDATE)]
)
def test_a_unit_without_a_journal_follows_who_leads_and_votes_in_a_grid_that_begins(heard):
    assert answer(election().hear_claim(heard, NOW_NS + S)).granted


@pytest.mark.parametrize(
    ("grid_master_id", "term", "at_s", "expected"),
    [
        ("E002", 1, 1, True),
        ("E002", 0, 1, False),
        ("E002", 2, 1, False),
        ("E003", 1, 1, False),
        (NOBODY, 1, 9, False),
        ("E002", 1, 9, False),
    ],
)
def test_whom_a_unit_obeys(grid_master_id, term, at_s, expected):
    one = election()
    one.hear_claim(claim(), NOW_NS)
    assert one.obeys(grid_master_id, term, NOW_NS + at_s * S) is expected


def test_only_so_many_claims_are_remembered():
    one, now_ns = master()
    last = 0
    for _ in range(100):
        now_ns = one.wake_ns
        for effect in one.tick(now_ns):
            if isinstance(effect, Broadcast):
                last = effect.message.sequence
        one.hear_grant(grant(sequence=last), now_ns)
    assert one.is_master(now_ns)
    until_ns = one.wake_ns
    one.hear_grant(replace(grant("E003"), sequence=1), now_ns)  # forgotten long ago
    assert one.wake_ns == until_ns


def test_it_looks_again_later_while_somebody_else_has_the_lease():
    one = election()
    one.hear_claim(claim(), NOW_NS)
    assert one.wake_ns > NOW_NS + 4 * S
    one.hear_claim(claim(sequence=2), NOW_NS + 3 * S)
    assert one.tick(NOW_NS + 5 * S) == []
    assert one.role is Role.FOLLOWER
