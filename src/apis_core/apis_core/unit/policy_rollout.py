"""A changed policy comes into force while the grid runs.

    a unit's file says a newer one ─► OFFER ─► the grid master: PREPARE ─► all write it down and
    begin no new deals ─► nothing flows any more, a majority is ready ─► ADOPT ─► all go by it

The policy with the greater version is the newer one. Nothing changes while a deal runs: the ones
that run end under the policy that they began with. What a majority has written down survives any
crash; who was away catches up, because the grid master says ADOPT again to whoever is behind, and
a unit that is ahead of its grid master offers it what it has.

Members change one at a time, so that any majority of the old ones has a unit in common with any
majority of the new ones (Ongaro, *Consensus: Bridging Theory and Practice*, 2014, section 4.1),
and the next change waits until a majority goes by the last one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from apis_core.config.policy import Policy, parse_policy, policy_hash
from apis_core.config.policy_text import policy_file
from apis_core.events import Broadcast, Effect, Log, PolicyPrepared, PublishFault, Record
from apis_core.model.errors import ConfigError
from apis_core.model.messages import Fault, OfferKind, PolicyOffer, UnitStatus
from apis_core.model.types import NOBODY, FaultCategory, FaultExtent, FaultLevel, UnitId
from apis_core.model.units import NEVER_NS, SECOND_NS
from apis_core.unit.unit_state import UnitState

__all__ = ["PolicyRollout"]

_TELL_NS = 3 * SECOND_NS
_PAUSE_TELLS = 4  # no PREPARE for so long, and deals begin again
_PATIENCE_TELLS = 40  # for a unit that is heard, but does not get ready


@dataclass(frozen=True, slots=True)
class _Edition:
    """A policy with what is asked of it again and again."""

    policy: Policy
    hash: str
    text: str

    @staticmethod
    def of(policy: Policy) -> _Edition:
        return _Edition(policy, policy_hash(policy), policy_file(policy))

    @property
    def version(self) -> int:
        return self.policy.version


class PolicyRollout:
    """One unit's part in bringing a changed policy into force.

    Args:
        state: The unit's state.
        coming: What this unit had written down before it was restarted.
        tell_ns: Between two messages about it.
        now_ns: Present time.

    Attributes:
        decided: The policy that holds as soon as this unit has no deal; None = the present one.
    """

    def __init__(self, state: UnitState, coming: Policy | None, tell_ns: int, now_ns: int) -> None:
        self.decided: Policy | None = None
        self._state = state
        # what this unit has written down, and the newest that was given or offered to it
        is_coming = coming is not None and coming.version > state.policy.version
        self._coming = _Edition.of(coming) if coming is not None and is_coming else None
        self._newest = self._coming
        self._is_anyone_behind = False
        self._tell_ns = max(tell_ns, _TELL_NS)
        self._due_ns = now_ns + self._tell_ns
        self._begun_ns = NEVER_NS  # as the grid master: since when we ask all to be ready
        self._refused: set[str] = set()  # hashes of what came to nothing

    @property
    def wake_ns(self) -> int:
        """When :meth:`tick` wants to be called."""
        return self._due_ns if self._newest is not None or self._is_anyone_behind else NEVER_NS

    @property
    def coming_hash(self) -> str:
        """The hash of the policy that this unit is ready for; empty = none."""
        return self._coming.hash if self._coming is not None else ""

    # --- events ----------------------------------------------------------------------------------

    def offer(self, policy: Policy) -> list[Effect]:
        """The operator's file has changed.

        A policy that is not newer is not for us to bring in; what differs in nothing is no news.
        """
        edition, version = _Edition.of(policy), self._state.policy.version
        if edition.hash == self._state.policy_hash:
            return []
        if policy.version <= version:
            right = f"its version is {policy.version}, it must be above {version}, which holds"
            return [Log(f"ignores its policy file: {right}", is_warning=True)]
        self._refused.discard(edition.hash)
        self._consider(edition)
        return [Log(f"offers version {policy.version} of the policy")]

    def hear_status(self, status: UnitStatus) -> None:
        """A unit says by which policy it goes."""
        if status.policy_version < self._state.policy.version:
            self._is_anyone_behind = True

    def hear(self, offer: PolicyOffer, now_ns: int, *, is_grid_master: bool) -> list[Effect]:
        """Somebody speaks of a policy; what is not newer than ours is no news."""
        state = self._state
        if offer.policy_version <= state.policy.version:
            return []
        edition, reason = _read(offer)
        if edition is None:
            return [Log(f"ignores the policy of {offer.unit_id}: {reason}", is_warning=True)]
        if offer.kind is OfferKind.ADOPT:
            # a majority has written it down, whoever says so
            is_newer = self.decided is None or edition.version > self.decided.version
            members = (*state.policy.member_unit_ids, *edition.policy.member_unit_ids)
            if is_newer and offer.unit_id in members:
                self.decided = edition.policy
            return []
        if offer.unit_id not in state.policy.member_unit_ids:
            return []
        if offer.kind is OfferKind.OFFER:
            if is_grid_master:
                self._consider(edition)
            return []
        if not state.election.obeys(offer.unit_id, offer.term, now_ns):
            return []
        self._pause(now_ns)
        return self._prepare(edition)

    def tick(self, now_ns: int, *, is_grid_master: bool, is_bus_free: bool) -> list[Effect]:
        """Say what is to be said; as the grid master, go on with the change.

        Args:
            now_ns: Present time.
            is_grid_master: Whether this unit is the grid master.
            is_bus_free: As such: whether it runs no deal and the bus is off.
        """
        if not is_grid_master:
            self._begun_ns = NEVER_NS
        if now_ns < self.wake_ns:
            return []
        self._due_ns = now_ns + self._tell_ns
        state = self._state
        version = state.policy.version
        behind = [u for u, (s, _) in state.peers.items() if s.policy_version < version]
        self._is_anyone_behind = bool(behind)
        fresh = state.fresh_statuses(now_ns)
        if not is_grid_master:
            if self._newest is not None:
                return [self._word(OfferKind.OFFER, self._newest)]
            # one that is behind us has no vote of ours, and is a grid master all the same
            is_ahead = any(s.is_grid_master and u in behind for u, s in fresh.items())
            own = _Edition.of(state.policy)
            return [self._word(OfferKind.OFFER, own)] if is_ahead else []
        effects: list[Effect] = []
        if any(unit_id in fresh for unit_id in behind):
            effects.append(self._word(OfferKind.ADOPT, _Edition.of(state.policy)))
        if self._newest is not None:
            effects += self._lead(self._newest, fresh, is_bus_free, now_ns)
        return effects

    def has_adopted(self) -> None:
        """The unit goes by the policy that was decided."""
        version = self._state.policy.version
        self.decided = None
        self._begun_ns = NEVER_NS
        self._is_anyone_behind = True  # until that is looked at
        self._state.paused_until_ns = 0
        if self._newest is not None and self._newest.version <= version:
            self._newest = None
        if self._coming is not None and self._coming.version <= version:
            self._coming = None

    # --- inside ----------------------------------------------------------------------------------

    def _consider(self, edition: _Edition) -> None:
        newest = self._newest
        is_newer = newest is None or edition.version > newest.version
        if is_newer and edition.hash not in self._refused:
            self._newest = edition
            self._begun_ns = NEVER_NS

    def _prepare(self, edition: _Edition) -> list[Effect]:
        if edition.hash == self.coming_hash:
            return []
        self._coming = edition
        self._consider(edition)
        return [
            Record(PolicyPrepared(edition.text)),
            Log(f"is ready for version {edition.version} of the policy"),
        ]

    def _pause(self, now_ns: int) -> None:
        self._state.paused_until_ns = now_ns + _PAUSE_TELLS * self._tell_ns

    def _lead(
        self,
        edition: _Edition,
        fresh: Mapping[UnitId, UnitStatus],
        is_bus_free: bool,
        now_ns: int,
    ) -> list[Effect]:
        """Bring a policy into force, one step further."""
        state = self._state
        reason = _why_refused(state.policy, edition.policy)
        if reason:
            return self._drop(edition, reason)
        if self._count(fresh, state.policy_hash, state.policy) < _majority(state.policy):
            return []  # the last change is not over
        self._pause(now_ns)
        effects = self._prepare(edition)
        if self._begun_ns == NEVER_NS:
            self._begun_ns = now_ns
            effects.append(Log(f"rolls out version {edition.version} of the policy"))
        # one that follows nobody cannot be made ready: it is told when a majority has decided
        unready = [
            u
            for u, s in fresh.items()
            if s.grid_master_id != NOBODY and not _is_ready(s, edition.hash)
        ]
        is_ready = not unready and all(
            self._count(fresh, edition.hash, members) >= _majority(members)
            for members in (state.policy, edition.policy)
        )
        is_at_rest = is_bus_free and not any(status.deal_ids for status in fresh.values())
        if is_ready and is_at_rest:
            self.decided = edition.policy
            return [*effects, self._word(OfferKind.ADOPT, edition)]
        is_late = now_ns - self._begun_ns > _PATIENCE_TELLS * self._tell_ns
        if unready and is_late:
            return [*effects, *self._drop(edition, f"{', '.join(sorted(unready))} is not ready")]
        return [*effects, self._word(OfferKind.PREPARE, edition)]

    def _drop(self, edition: _Edition, reason: str) -> list[Effect]:
        self._refused.add(edition.hash)
        self._newest, self._begun_ns = None, NEVER_NS
        self._state.paused_until_ns = 0
        message = f"version {edition.version} of the policy is not rolled out: {reason}"
        return [PublishFault(_warning(self._state.unit_id, "policy_refused", message))]

    def _count(self, fresh: Mapping[UnitId, UnitStatus], wanted: str, members: Policy) -> int:
        """Members that go by a policy, or are ready for it, this unit among them."""
        ready = {u for u, s in fresh.items() if _is_ready(s, wanted)}
        if wanted in (self._state.policy_hash, self.coming_hash):
            ready.add(self._state.unit_id)
        return len(ready & set(members.member_unit_ids))

    def _word(self, kind: OfferKind, edition: _Edition) -> Broadcast:
        return Broadcast(
            PolicyOffer(
                kind=kind,
                unit_id=self._state.unit_id,
                term=self._state.election.term,
                policy_version=edition.version,
                policy_hash=edition.hash,
                text=edition.text,
            )
        )


def _why_refused(old: Policy, new: Policy) -> str:
    """Why a newer policy must not come into force; empty = it may."""
    changed = set(old.member_unit_ids) ^ set(new.member_unit_ids)
    if len(changed) > 1:
        return (
            "it changes more than one of memberUnitIds at once; "
            f"add or remove {', '.join(sorted(changed))} one after the other"
        )
    return ""


def _is_ready(status: UnitStatus, wanted: str) -> bool:
    if "journal_failed" in status.fault_codes:
        return False  # what it says that it has written down, it may not have
    return wanted in (status.policy_hash, status.coming_policy_hash)


def _majority(policy: Policy) -> int:
    return len(policy.member_unit_ids) // 2 + 1


def _warning(unit_id: UnitId, code: str, message: str) -> Fault:
    return Fault(
        unit_id=unit_id,
        reporter_id=unit_id,
        category=FaultCategory.USER,
        extent=FaultExtent.GLOBAL,
        level=FaultLevel.WARN,
        code=code,
        message=message,
    )


@lru_cache(maxsize=8)
def _parsed(text: str) -> tuple[_Edition | None, str]:
    """Every unit repeats the same few texts for as long as a change lasts."""
    try:
        return _Edition.of(parse_policy(text, "policy")), ""
    except ConfigError as error:
        return None, error.problems[0].right


def _read(offer: PolicyOffer) -> tuple[_Edition | None, str]:
    edition, reason = _parsed(offer.text)
    if edition is None:
        return None, reason
    if (edition.version, edition.hash) != (offer.policy_version, offer.policy_hash):
        return None, "its text says something else than its hash"
    return edition, ""
