"""Who may give orders: the grid master's lease.

A unit that hears no grid master stands for one in a new *term*. Every member grants at most one
unit a lease per term, and none while a lease that it granted to somebody else is still running; so
two units can never hold leases of a majority at once. The grid master renews by its heartbeat. It
counts its lease from the moment it *sent* the claim, a member from the moment it *received* it,
and gives up a tenth early: clocks that drift apart by less than that cannot make two masters.

Nothing here needs synchronised clocks. Losing an election is normal and silent.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from random import Random
from typing import Final

from apis_core.cluster.lease import ClaimedLease, GrantedLease
from apis_core.config.timing import ElectionTiming
from apis_core.events import Broadcast, Effect, LeaseGranted, Log, Record
from apis_core.model.messages import ClaimKind, GridMasterClaim, LeaseGrant
from apis_core.model.transitions import Transitions, check
from apis_core.model.types import NOBODY, UnitId
from apis_core.model.units import NEVER_NS

__all__ = ["TRANSITIONS", "Election", "Role"]

_EARLY = 0.9  # share of a granted lease that the holder itself believes in
_MAX_DOUBLINGS = 3  # of the back-off after candidacies that came to nothing
MINORITY_SIZE = 2  # the least: the two units of a deal
_START_LEASES = 2  # so long after its start a process waits for members that are starting, too
_CANDIDACY = 0.75  # of a lease; without a majority by then the voters are given back
_IN_TURN_HEARTBEATS = 2  # between two units of a cluster that starts


class Role(Enum):
    """What a unit is in the election."""

    FOLLOWER = auto()
    CANDIDATE = auto()
    MASTER = auto()
    RETIRED = auto()  # stopping: grants others, stands no more


_R = Role

TRANSITIONS: Final[Transitions[Role]] = {
    _R.FOLLOWER: {_R.CANDIDATE: "time", _R.RETIRED: "end"},
    _R.CANDIDATE: {
        _R.FOLLOWER: "claim, grant, time",
        _R.MASTER: "grant, time",  # time: its own vote is enough, it is the only member
        _R.RETIRED: "end",
    },
    _R.MASTER: {_R.FOLLOWER: "claim, fault, grant, time", _R.RETIRED: "end"},
    _R.RETIRED: {_R.RETIRED: "end"},
}


class Election:
    """One unit's part in electing the grid master.

    Args:
        unit_id: This unit.
        instance_id: This process.
        member_ids: All members of the cluster, this unit among them.
        timing: See :class:`ElectionTiming`.
        random: Source of the back-off; injected so that a seed fixes it.
        now_ns: Present time.
        term: Highest term known from the journal.
        granted_to: To whom this unit gave its vote in that term. Its lease may still run: it is
            honoured in full from now.
        may_stand: Whether this unit may become the grid master at all (strategy `fixed` names
            another one).
        rank: Place of this unit among those that may stand. In a cluster that starts they stand
            in that order, so that one election is enough.
        policy_hash: Hash of this unit's policy, sent with each claim.
        policy_version: Version of that policy. A claim with an older one gets no vote.
    """

    def __init__(
        self,
        *,
        unit_id: UnitId,
        instance_id: str,
        member_ids: Sequence[UnitId],
        timing: ElectionTiming,
        random: Random,
        now_ns: int,
        term: int = 0,
        granted_to: UnitId = NOBODY,
        may_stand: bool = True,
        rank: int = 0,
        policy_hash: str = "",
        policy_version: int = 0,
    ) -> None:
        self.term = term
        self.role = Role.FOLLOWER
        self._unit_id = unit_id
        self._instance_id = instance_id
        self._members = tuple(member_ids)
        self._timing = timing
        self._random = random
        self._may_stand = may_stand
        self._policy_hash = policy_hash
        self._policy_version = policy_version
        self._granted = GrantedLease(
            granted_to,
            now_ns + timing.lease_ns if granted_to != NOBODY else now_ns,
            now_ns if term else now_ns + timing.lease_ns,
        )
        self._claimed = ClaimedLease(self.majority)
        # While a cluster starts nobody leads, and a member that is silent may be about to start.
        self._is_starting = True
        self._patient_until_ns = now_ns + _START_LEASES * timing.lease_ns
        self._rank = rank
        self._give_way_ns = NEVER_NS
        self._failures = 0  # candidacies of ours in a row that came to nothing
        self._act_ns = self._granted.until_ns + self._back_off_ns()

    @property
    def wake_ns(self) -> int:
        """When :meth:`tick` wants to be called."""
        if self.role is Role.MASTER:
            return min(self._act_ns, self._claimed.until_ns)
        if self.role is Role.CANDIDATE or self._may_stand_now:
            return self._act_ns
        return NEVER_NS

    @property
    def majority(self) -> int:
        """How many votes elect a grid master, > 0."""
        return len(self._members) // 2 + 1

    def grid_master_id(self, now_ns: int) -> UnitId:
        """The grid master whose lease this unit obeys; nobody if there is none, or it ran out."""
        holder = self._granted.running_for(now_ns)
        # to stand is not to have won
        return NOBODY if holder == self._unit_id and self.role is not Role.MASTER else holder

    def is_master(self, now_ns: int) -> bool:
        """Whether this unit may give orders in :attr:`term` now."""
        return self.role is Role.MASTER and now_ns < self._claimed.until_ns

    def obeys(self, grid_master_id: UnitId, term: int, now_ns: int) -> bool:
        """Whether an order of that unit in that term is to be carried out now."""
        return term == self.term and grid_master_id == self.grid_master_id(now_ns) != NOBODY

    def tick(
        self, now_ns: int, reachable: int | None = None, *, minority_allowed: bool = False
    ) -> list[Effect]:
        """Do what is due: stand, renew, give up.

        Args:
            now_ns: Present time.
            reachable: Members heard from lately, this unit among them; None = all. One that does
                not hear a majority cannot win, and raising its term in vain would only keep it
                from following the others' grid master once it hears them again.
            minority_allowed: Two or more that hear no majority may elect a grid master of their
                own, with the votes of all of them.
        """
        if now_ns < self.wake_ns:
            return []
        can_win = reachable is None or reachable >= self.majority
        if can_win:
            self._claimed.quorum = self.majority
        if self.role is Role.MASTER:
            if now_ns >= self._claimed.until_ns:
                return self._lose(now_ns, "a majority no longer answers")
            return self._claim(ClaimKind.MASTER, now_ns)
        if self.role is Role.CANDIDATE:
            if now_ns >= self._give_way_ns:
                return self._give_way(now_ns)
            return self._claim(ClaimKind.CANDIDATE, now_ns)  # the last may have got lost
        if now_ns > self._act_ns + self._timing.heartbeat_ns:
            # this process got no turn for a while: first it hears what was said meanwhile
            self._act_ns = now_ns + self._back_off_ns()
            return []
        if self._waits_for_all(reachable, now_ns):
            return []
        if (
            not can_win
            and minority_allowed
            and reachable is not None
            and reachable >= MINORITY_SIZE
        ):
            self._claimed.quorum, can_win = reachable, True
        is_free = self._granted.running_for(now_ns) in (NOBODY, self._unit_id)
        if self._may_stand_now and can_win and is_free:
            return self._stand(now_ns)
        self._act_ns = max(self._granted.until_ns, now_ns) + self._back_off_ns()
        return []

    def hear_claim(self, claim: GridMasterClaim, now_ns: int) -> list[Effect]:
        """Answer somebody's claim. Our own, echoed by the network, is ignored."""
        if claim.unit_id == self._unit_id or claim.unit_id not in self._members:
            return []
        if claim.kind is ClaimKind.RESIGN:
            self._granted.note_resigned(claim)
            if claim.term == self.term and claim.unit_id == self._granted.holder_id:
                self._granted.end(now_ns)
                self._act_ns = now_ns + self._back_off_ns()
            return []
        effects: list[Effect] = []
        reason = self._why_not(claim, now_ns)
        if not reason:
            if self.role in (Role.MASTER, Role.CANDIDATE):
                effects += self._lose(now_ns, f"{claim.unit_id} leads term {claim.term}")
            if (claim.term, claim.unit_id) != (self.term, self._granted.holder_id):
                effects.append(Record(LeaseGranted(claim.term, claim.unit_id)))
            self.term = claim.term
            self._granted.grant(claim, now_ns)
            if claim.kind is ClaimKind.MASTER:
                self._failures = 0
                self._is_starting = False
            self._act_ns = self._granted.until_ns + self._back_off_ns()
        grant = LeaseGrant(
            unit_id=self._unit_id,
            grid_master_id=claim.unit_id,
            term=claim.term,
            sequence=claim.sequence,
            granted=not reason,
            known_term=self.term,
            reason=reason,
        )
        return [*effects, Broadcast(grant)]

    def hear_grant(self, grant: LeaseGrant, now_ns: int) -> list[Effect]:
        """Count a vote for us; learn of newer terms."""
        if grant.grid_master_id != self._unit_id or grant.unit_id not in self._members:
            return []
        if grant.known_term > self.term and self.role in (Role.CANDIDATE, Role.MASTER):
            # a member that has seen a newer term can follow only a newer one still
            effects = self._lose(now_ns, f"{grant.unit_id} is in term {grant.known_term}")
            self.term, self._granted.holder_id = grant.known_term, NOBODY
            return effects
        sent_ns = self._claimed.sent_ns(grant.sequence)
        if grant.term != self.term or not grant.granted or sent_ns is None:
            return []
        return self._acknowledge(grant.unit_id, sent_ns, now_ns)

    def take_rules(
        self,
        *,
        member_ids: Sequence[UnitId],
        timing: ElectionTiming,
        may_stand: bool,
        policy_hash: str,
        policy_version: int,
    ) -> None:
        """Another policy holds from now. A lease that runs goes on."""
        self._members = tuple(member_ids)
        self._claimed.quorum = self.majority
        self._timing = timing
        self._may_stand = may_stand
        self._policy_hash, self._policy_version = policy_hash, policy_version
        self._claimed.keep_only(member_ids)

    def step_down(self, now_ns: int) -> list[Effect]:
        """Be grid master no longer, and let the others go first when it comes to the next."""
        if self.role is not Role.MASTER:
            return []
        told = self._claim(ClaimKind.RESIGN, now_ns)
        noted = self._lose(now_ns, "it steps down because of a fault")
        self._act_ns = now_ns + 2 * self._timing.lease_ns + self._back_off_ns()
        return [*told, *noted]

    def resign(self, now_ns: int) -> list[Effect]:
        """Give up the lease, if this unit has one, and stand in no election any more.

        Tell the others at once if we were the grid master, so that they need not wait.
        """
        was_leading = self.role in (Role.MASTER, Role.CANDIDATE)
        self._become(Role.RETIRED)
        if not was_leading:
            return []
        self._granted.end(now_ns)
        return self._claim(ClaimKind.RESIGN, now_ns)

    # --- inside ----------------------------------------------------------------------------------

    def _become(self, role: Role) -> None:
        check(TRANSITIONS, self.role, role)
        self.role = role

    @property
    def _may_stand_now(self) -> bool:
        is_member = self._unit_id in self._members
        return self._may_stand and is_member and self.role is not Role.RETIRED

    def _back_off_ns(self) -> int:
        # the more there are, the further apart, so that one is heard before the next stands
        spread = 1.5 * max(len(self._members) / 5.0, 1.0)
        spread *= 2.0 ** min(self._failures, _MAX_DOUBLINGS)
        return round(self._timing.heartbeat_ns * (0.5 + spread * self._random.random()))

    def _why_not(self, claim: GridMasterClaim, now_ns: int) -> str:
        if claim.term < self.term:
            return f"term {self.term} has begun"
        reason = self._granted.why_not(claim, self.term, now_ns)
        if reason:
            return reason
        differs = claim.policy_hash != self._policy_hash and claim.policy_hash
        # whose policy is newer may lead us to it
        if differs and self._policy_hash and claim.policy_version <= self._policy_version:
            return f"its policy {claim.policy_hash} differs from ours, {self._policy_hash}"
        return ""

    def _waits_for_all(self, reachable: int | None, now_ns: int) -> bool:
        """Whether it does not stand yet, because the cluster is starting."""
        if not self._is_starting or reachable is None:
            return False
        heartbeat_ns = self._timing.heartbeat_ns
        if reachable >= len(self._members):  # all are there: now in turn
            self._is_starting = False
            delay_ns = _IN_TURN_HEARTBEATS * self._rank * heartbeat_ns
        elif now_ns >= self._patient_until_ns:
            self._is_starting = False
            delay_ns = self._back_off_ns()
        else:
            delay_ns = heartbeat_ns // 2
        self._act_ns = max(now_ns + delay_ns, self._granted.until_ns)
        return delay_ns > 0

    def _stand(self, now_ns: int) -> list[Effect]:
        self.term += 1
        self._become(Role.CANDIDATE)
        self._give_way_ns = now_ns + round(_CANDIDACY * self._timing.lease_ns)
        self._granted.holder_id = self._unit_id
        self._claimed.begin()
        return [
            Record(LeaseGranted(self.term, self._unit_id)),
            *self._claim(ClaimKind.CANDIDATE, now_ns),
        ]

    def _give_way(self, now_ns: int) -> list[Effect]:
        """No majority in time: give the voters back.

        Two candidates that kept theirs would split the vote for ever; the longer it stays split,
        the further apart they stand again.
        """
        self._failures += 1
        self._become(Role.FOLLOWER)
        effects = self._claim(ClaimKind.RESIGN, now_ns)
        self._granted.end(now_ns)
        self._act_ns = now_ns + self._back_off_ns()
        return effects

    def _claim(self, kind: ClaimKind, now_ns: int) -> list[Effect]:
        sequence = self._claimed.next_sequence(now_ns)
        self._act_ns = now_ns + self._timing.heartbeat_ns
        if kind is ClaimKind.CANDIDATE:
            self._granted.until_ns = now_ns + self._timing.lease_ns
            self._act_ns = min(self._act_ns, self._give_way_ns)
        claim = GridMasterClaim(
            kind=kind,
            unit_id=self._unit_id,
            instance_id=self._instance_id,
            term=self.term,
            sequence=sequence,
            lease_ns=self._timing.lease_ns,
            policy_hash=self._policy_hash,
            policy_version=self._policy_version,
        )
        if kind is ClaimKind.RESIGN:
            return [Broadcast(claim)]
        return [Broadcast(claim), *self._acknowledge(self._unit_id, now_ns, now_ns)]

    def _acknowledge(self, member_id: UnitId, sent_ns: int, now_ns: int) -> list[Effect]:
        if self.role not in (Role.CANDIDATE, Role.MASTER):
            return []
        lease_ns = round(self._timing.lease_ns * _EARLY)
        if not self._claimed.take_grant(member_id, sent_ns, lease_ns):
            return []
        self._granted.until_ns = max(self._granted.until_ns, self._claimed.until_ns)
        if self.role is Role.MASTER or now_ns >= self._claimed.until_ns:
            return []
        self._become(Role.MASTER)
        self._failures = 0
        return [
            Log(f"is the grid master of term {self.term}"),
            *self._claim(ClaimKind.MASTER, now_ns),  # the others learn at once who it is
        ]

    def _lose(self, now_ns: int, reason: str) -> list[Effect]:
        was_master = self.role is Role.MASTER
        self._become(Role.FOLLOWER)
        if self._granted.holder_id == self._unit_id:
            self._granted.end(now_ns)
        self._act_ns = now_ns + self._back_off_ns()
        text = f"is no longer the grid master of term {self.term}: {reason}"
        return [Log(text, is_warning=True)] * was_master
