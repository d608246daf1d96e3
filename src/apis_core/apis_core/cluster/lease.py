"""The two sides of a lease: what a member has granted, and what a claimant has been granted."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection

from apis_core.model.messages import ClaimKind, GridMasterClaim
from apis_core.model.types import NOBODY, UnitId
from apis_core.model.units import s_from_ns

__all__ = ["ClaimedLease", "GrantedLease"]

_REMEMBERED_CLAIMS = 64  # of which late grants still count


class GrantedLease:
    """Whom this unit obeys, and until when: at most one unit per term.

    Args:
        holder_id: To whom this unit gave its vote in the term that it knows; nobody = not known.
        until_ns: Until when that lease is honoured. [ns]
        blank_until_ns: A unit without a memory may have given its vote in a process before this
            one; so long it gives none to a candidate of an old term. [ns]

    Attributes:
        holder_id: Who has the lease, or had it last.
        until_ns: When it runs out, or ran out. [ns]
    """

    def __init__(self, holder_id: UnitId, until_ns: int, blank_until_ns: int) -> None:
        self.holder_id = holder_id
        self.until_ns = until_ns
        self._instance_id = ""  # the process that got it; not known after a restart
        self._blank_until_ns = blank_until_ns
        self._resigned: tuple[UnitId, int] = (NOBODY, 0)  # who did so last, and in which term

    def running_for(self, now_ns: int) -> UnitId:
        """Who has a lease that runs; nobody if it has run out."""
        return self.holder_id if now_ns < self.until_ns else NOBODY

    def grant(self, claim: GridMasterClaim, now_ns: int) -> None:
        """Give the lease to a claimant, or renew it."""
        self.holder_id, self._instance_id = claim.unit_id, claim.instance_id
        self.until_ns = now_ns + claim.lease_ns

    def end(self, now_ns: int) -> None:
        """Honour the lease no longer."""
        self.until_ns = now_ns

    def note_resigned(self, claim: GridMasterClaim) -> None:
        """A unit has given up its lease of a term.

        An earlier claim may be overtaken by this on its way, and must not renew the lease.
        """
        self._resigned = (claim.unit_id, claim.term)

    def why_not(self, claim: GridMasterClaim, term: int, now_ns: int) -> str:
        """Why a claim gets no lease; empty = as far as leases go, it gets one.

        Args:
            claim: What somebody wants.
            term: The highest that this unit knows.
            now_ns: Present time.
        """
        if (claim.unit_id, claim.term) == self._resigned:
            return f"{claim.unit_id} has resigned in term {claim.term}"
        holder = self.running_for(now_ns)
        if holder not in (NOBODY, claim.unit_id):
            left_s = s_from_ns(self.until_ns - now_ns)
            return f"{holder} has the lease for another {left_s:.1f} s"
        if claim.term == term and self.holder_id not in (NOBODY, claim.unit_id):
            return f"{self.holder_id} has this unit's vote in term {claim.term}"
        is_candidate = claim.kind is ClaimKind.CANDIDATE
        is_again = claim.term == term and claim.instance_id != self._instance_id
        if is_candidate and is_again and self.holder_id == claim.unit_id:
            # it has lost its journal, or this unit has been restarted: the next term is free
            return f"an earlier process of {claim.unit_id} stood in term {claim.term}"
        if is_candidate and not term and claim.term > 1 and now_ns < self._blank_until_ns:
            return "its journal is new: it may have voted before"
        return ""


class ClaimedLease:
    """What this unit has claimed in a term, and which members have granted it.

    Args:
        quorum: How many members' grants make a lease, > 0.

    Attributes:
        quorum: As above; the election lowers it where the policy lets a minority elect.
        until_ns: Until when this unit leads by the grants. [ns]
    """

    def __init__(self, quorum: int) -> None:
        self.quorum = quorum
        self.until_ns = 0
        self._sequence = 0
        self._sent_ns: OrderedDict[int, int] = OrderedDict()  # when each claim was sent
        self._granted_ns: dict[UnitId, int] = {}  # when the latest that each granted was sent

    def begin(self) -> None:
        """Forget what was claimed and granted in the term before."""
        self._granted_ns.clear()
        self._sent_ns.clear()

    def next_sequence(self, now_ns: int) -> int:
        """The number of a claim that is sent now."""
        self._sequence += 1
        self._sent_ns[self._sequence] = now_ns
        while len(self._sent_ns) > _REMEMBERED_CLAIMS:
            self._sent_ns.popitem(last=False)
        return self._sequence

    def sent_ns(self, sequence: int) -> int | None:
        """When a claim was sent; None = not in this term, or too long ago."""
        return self._sent_ns.get(sequence)

    def take_grant(self, member_id: UnitId, sent_ns: int, lease_ns: int) -> bool:
        """Count a member's grant of a claim that was sent then.

        Returns:
            Whether a quorum has granted; :attr:`until_ns` says for how long.
        """
        before_ns = self._granted_ns.get(member_id, sent_ns)
        self._granted_ns[member_id] = max(before_ns, sent_ns)
        latest = sorted(self._granted_ns.values(), reverse=True)
        if len(latest) < self.quorum:
            return False
        self.until_ns = latest[self.quorum - 1] + lease_ns
        return True

    def keep_only(self, member_ids: Collection[UnitId]) -> None:
        """Forget the grants of units that are no members any more."""
        for unit_id in set(self._granted_ns) - set(member_ids):
            del self._granted_ns[unit_id]
