"""The monitor of the whole bus: what flows in must flow out, and no branch may carry too much
(the protocol, 10.1).

Two units are never read at the same moment, and a sum over a change of currents proves nothing. So
a finding counts when a second set of readings shows it, too: each of them taken after the first
set, and after the currents have become steady. A time in which the currents change says neither
that a leak is there nor that it is gone. A unit that is not heard is assumed to carry all the
current that its deals may bring it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from apis_core.config.policy import Policy
from apis_core.grid_master.topology import overloaded
from apis_core.model.messages import ConverterReading
from apis_core.model.types import ConverterMode, UnitId
from apis_core.model.units import SECOND_NS

__all__ = ["BusMonitor"]

_SETTLE_NS = SECOND_NS  # until a current that was changed has run to where it is to be


class BusMonitor:
    """Finds leaks and overloaded branches from the readings of all units.

    Args:
        policy: With the allowances and the branches.
        fresh_ns: How long a reading counts. [ns]
    """

    def __init__(self, policy: Policy, fresh_ns: int) -> None:
        self._policy = policy
        self._fresh_ns = fresh_ns
        self._readings: dict[UnitId, tuple[ConverterReading, int]] = {}
        self._seen_ns: dict[str, int] = {}  # when each finding was seen first
        self._steady_since_ns: int | None = None  # None = the currents change

    @property
    def is_suspicious(self) -> bool:
        """Whether something was found that another set of readings must confirm."""
        return bool(self._seen_ns)

    def hear(self, unit_id: UnitId, reading: ConverterReading, now_ns: int) -> None:
        """Take a reading of a unit's converter."""
        self._readings[unit_id] = (reading, now_ns)

    def reading(self, unit_id: UnitId, now_ns: int) -> ConverterReading | None:
        """A unit's newest reading; None = it is too old, or there is none."""
        reading, heard_ns = self._readings.get(unit_id, (None, 0))
        return reading if now_ns - heard_ns <= self._fresh_ns else None

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
        currents_a = {
            unit_id: None if reading.mode is ConverterMode.UNKNOWN else reading.grid_current_a
            for unit_id, (reading, heard_ns) in self._readings.items()
            if now_ns - heard_ns <= self._fresh_ns
        }
        found = {
            f"branch_overload_{branch.id}": (branch.forward_unit_ids, words)
            for branch, words in overloaded(
                currents_a,
                self._policy.topology or (),
                assumed_a=assumed_a,
                allowance_a=self._policy.leak_allowance_per_unit_a,
            )
        }
        if not dealing_ids:
            self._steady_since_ns = None
        elif self._steady_since_ns is None:
            self._steady_since_ns = now_ns
        leak = self._leak(dealing_ids, currents_a)
        if leak:
            found["leak"] = (tuple(dealing_ids), leak)
        keeps_leak = self._steady_since_ns is None  # nothing is proven now
        for code in [code for code in self._seen_ns if code not in found]:
            if code != "leak" or not keeps_leak:
                del self._seen_ns[code]
        return [
            ("branch_overload" if code.startswith("branch_overload_") else code, words)
            for code, (unit_ids, words) in found.items()
            if self._is_confirmed(code, unit_ids, now_ns)
        ]

    def _is_confirmed(self, code: str, unit_ids: Collection[UnitId], now_ns: int) -> bool:
        """Whether all units that are heard were read anew since a finding was seen first."""
        since_ns = self._seen_ns.setdefault(code, now_ns)
        if code == "leak" and self._steady_since_ns is not None:
            since_ns = max(since_ns, self._steady_since_ns)
        since_ns += _SETTLE_NS
        heard = [self._readings[unit_id][1] for unit_id in unit_ids if unit_id in self._readings]
        return now_ns > since_ns and all(
            heard_ns > since_ns or now_ns - heard_ns > self._fresh_ns for heard_ns in heard
        )

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
