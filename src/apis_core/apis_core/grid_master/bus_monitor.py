"""The monitor of the whole bus: what flows in must flow out, and no branch may carry too much
(the protocol, 10.1).

Two units are never read at the same moment, and a sum over a change of currents proves nothing. So
each unit must have been read at least twice with the same current, and there must be a moment
between the two readings of all of them: then all these currents flowed at once. A unit that is not
heard is assumed to carry all the current that its deals may bring it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from apis_core.config.policy import Policy
from apis_core.grid_master.topology import overloaded
from apis_core.model.messages import ConverterReading
from apis_core.model.types import ConverterMode, UnitId
from apis_core.model.units import NEVER_NS, SECOND_NS

__all__ = ["BusMonitor"]

_OLDEST_NS = SECOND_NS  # a reading that a unit answers with was taken so long ago at most
_SAME = 0.5  # of the allowance per unit: two readings that differ by less are of one current


@dataclass(slots=True)
class _Steady:
    """A unit's current has been the same from one reading to another.

    Attributes:
        current_a: As first read. [A]
        from_ns: It has flowed since then at the latest.
        to_ns: It has flowed until then at the earliest.
    """

    current_a: float
    from_ns: int
    to_ns: int


@dataclass(frozen=True, slots=True)
class _Finding:
    """Something that the newest readings say is wrong, proven or not."""

    code: str
    unit_ids: Sequence[UnitId]  # whose currents say so
    message: str


class BusMonitor:
    """Finds leaks and overloaded branches from the readings of all units.

    Args:
        policy: With the allowances and the branches.
        fresh_ns: How long a reading counts. [ns]
        hold_ns: How long a unit that nobody hears may carry its current. [ns]
    """

    def __init__(self, policy: Policy, fresh_ns: int, hold_ns: int) -> None:
        self._policy = policy
        self._fresh_ns = fresh_ns
        self._hold_ns = hold_ns
        self._dealt_ns: dict[UnitId, int] = {}  # when each last had a deal on the bus
        self._readings: dict[UnitId, tuple[ConverterReading, int]] = {}
        self._steady: dict[UnitId, _Steady] = {}
        self._is_suspicious = False
        self._dealing_ids: frozenset[UnitId] = frozenset()
        self._dealing_since_ns = NEVER_NS  # these and no others

    @property
    def is_suspicious(self) -> bool:
        """Whether something was found that another set of readings must confirm."""
        return self._is_suspicious

    def hear(
        self,
        unit_id: UnitId,
        reading: ConverterReading,
        now_ns: int,
        asked_ns: int | None = None,
    ) -> None:
        """Take a reading of a unit's converter.

        Args:
            unit_id: Whose.
            reading: What it says.
            now_ns: Present time.
            asked_ns: When it was asked for; None = it was not, and may have been under way for
                long. [ns]
        """
        self._readings[unit_id] = (reading, now_ns)
        current_a = None if reading.mode is ConverterMode.UNKNOWN else reading.grid_current_a
        if current_a is None:
            self._steady.pop(unit_id, None)
            return
        known = self._steady.get(unit_id)
        same_a = _SAME * self._policy.leak_allowance_per_unit_a
        if known is None or abs(current_a - known.current_a) > same_a:
            self._steady[unit_id] = _Steady(current_a, now_ns, -NEVER_NS)
        elif asked_ns is not None:
            known.to_ns = max(known.to_ns, asked_ns - _OLDEST_NS)

    def note_on_bus(self, unit_ids: Collection[UnitId], now_ns: int) -> None:
        """Take note of units that may carry a current now, for deals in any phase."""
        for unit_id in unit_ids:
            self._dealt_ns[unit_id] = now_ns

    def reading(self, unit_id: UnitId, now_ns: int) -> ConverterReading | None:
        """A unit's newest reading; None = it is too old, or there is none."""
        reading, heard_ns = self._readings.get(unit_id, (None, 0))
        return reading if now_ns - heard_ns <= self._fresh_ns else None

    def findings(
        self, dealing_ids: Collection[UnitId], assumed_a: Mapping[UnitId, float], now_ns: int
    ) -> list[_Finding]:
        """What the newest readings say is wrong, proven or not; see :meth:`look`."""
        if self._dealing_ids != frozenset(dealing_ids):
            self._dealing_ids, self._dealing_since_ns = frozenset(dealing_ids), now_ns
        currents_a = self._currents_a(now_ns)
        found = [
            _Finding("branch_overload", branch.forward_unit_ids, words)
            for branch, words in overloaded(
                currents_a,
                self._policy.topology or (),
                assumed_a=assumed_a,
                allowance_a=self._policy.leak_allowance_per_unit_a,
            )
        ]
        leak = self._leak(dealing_ids, currents_a)
        if leak:
            found.append(_Finding("leak", tuple(dealing_ids), leak))
        return found

    def look(
        self, dealing_ids: Collection[UnitId], assumed_a: Mapping[UnitId, float], now_ns: int
    ) -> list[tuple[str, str]]:
        """Look for leaks and overloaded branches.

        Args:
            dealing_ids: Units of all deals whose currents flow steadily, each once. Empty = the
                currents change just now, and no leak can be told.
            assumed_a: The largest current that the deals of each unit bring it. [A]
            now_ns: Present time.

        Returns:
            What is wrong, each as (code, message for people).
        """
        found = self.findings(dealing_ids, assumed_a, now_ns)
        self._is_suspicious = bool(found)
        return [(each.code, each.message) for each in found if self._is_proven(each, now_ns)]

    def _currents_a(self, now_ns: int) -> dict[UnitId, float | None]:
        """What each unit carries of which there is a fresh reading; None = it does not know."""
        return {
            unit_id: None if reading.mode is ConverterMode.UNKNOWN else reading.grid_current_a
            for unit_id, (reading, heard_ns) in self._readings.items()
            if now_ns - heard_ns <= self._fresh_ns
        }

    def _is_proven(self, finding: _Finding, now_ns: int) -> bool:
        """Whether the currents of all units that are heard have flowed at one moment."""
        currents_a = self._currents_a(now_ns)
        seen_ids = [u for u in finding.unit_ids if currents_a.get(u) is not None]
        steady = [self._steady[u] for u in seen_ids if u in self._steady]
        if len(steady) < len(seen_ids):
            return False
        since_ns = max((each.from_ns for each in steady), default=now_ns)
        if finding.code == "leak":
            if any(self._may_carry(unit_id, now_ns) for unit_id in self._dealt_ns):
                return False
            sum_a = sum([each.current_a for each in steady])
            if abs(sum_a) <= self._policy.leak_allowance_per_unit_a * len(steady):
                return False
            # before, others may have carried what is missing now
            since_ns = max(since_ns, self._dealing_since_ns)
        return since_ns <= min((each.to_ns for each in steady), default=now_ns)

    def _may_carry(self, unit_id: UnitId, now_ns: int) -> bool:
        """Whether a unit whose deals are over may carry a current that is missing in the sum.

        Nobody has seen it off, its line may be cut, and its hold time is not over.
        """
        dealt_ns = self._dealt_ns[unit_id]
        if unit_id in self._dealing_ids or now_ns - dealt_ns > self._hold_ns:
            return False
        reading, _ = self._readings.get(unit_id, (None, 0))
        if reading is None or reading.mode is not ConverterMode.WAIT:
            return True
        return abs(reading.grid_current_a or 0.0) > self._policy.leak_allowance_per_unit_a

    def _leak(
        self, dealing_ids: Collection[UnitId], currents_a: Mapping[UnitId, float | None]
    ) -> str:
        known = {u: a for u in dealing_ids if (a := currents_a.get(u)) is not None}
        if len(known) < len(dealing_ids):
            return ""  # a sum without one unit proves nothing; its silence ends its deals
        sum_a = sum(known.values())
        allowed_a = self._policy.leak_allowance_per_unit_a * len(known)
        if abs(sum_a) <= allowed_a:
            return ""
        return (
            f"the currents of {', '.join(sorted(known))} add up to {sum_a:+.3f} A, "
            f"more than {allowed_a:g} A"
        )
