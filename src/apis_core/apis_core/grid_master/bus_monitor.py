"""The monitor of the whole bus: what flows in must flow out, and no branch may carry too much
(the protocol, 10.1).

Two units are never read at the same moment. So a finding counts only when it has lasted longer
than two readings can be apart. A unit that is not heard is assumed to carry all the current that
its deals may bring it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from apis_core.config.policy import Policy
from apis_core.grid_master.topology import overloaded
from apis_core.model.debounce import Debounce
from apis_core.model.messages import ConverterReading
from apis_core.model.types import ConverterMode, UnitId

__all__ = ["BusMonitor"]


class BusMonitor:
    """Finds leaks and overloaded branches from the readings of all units.

    Args:
        policy: With the allowances and the branches.
        fresh_ns: How long a reading counts; a finding is real after twice that time. [ns]
    """

    def __init__(self, policy: Policy, fresh_ns: int) -> None:
        self._policy = policy
        self._fresh_ns = fresh_ns
        self._debounce = Debounce(2 * fresh_ns)
        self._readings: dict[UnitId, tuple[ConverterReading, int]] = {}
        self._looks = 0

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
        self._looks += 1
        currents_a = {
            unit_id: None if reading.mode is ConverterMode.UNKNOWN else reading.grid_current_a
            for unit_id, (reading, heard_ns) in self._readings.items()
            if now_ns - heard_ns <= self._fresh_ns
        }
        found = dict(self._leak(dealing_ids, currents_a))
        for branch, words in overloaded(
            currents_a,
            self._policy.topology or (),
            assumed_a=assumed_a,
            allowance_a=self._policy.leak_allowance_per_unit_a,
        ):
            found[f"branch_overload_{branch.id}"] = words
        self._debounce.keep_only(found)
        return [
            (code.partition("_overload_")[0] + "_overload" if "_overload_" in code else code, text)
            for code, text in found.items()
            if self._debounce.is_real(code, self._looks, now_ns)
        ]

    def _leak(
        self, dealing_ids: Collection[UnitId], currents_a: Mapping[UnitId, float | None]
    ) -> list[tuple[str, str]]:
        if not dealing_ids:
            return []
        known = {u: a for u in dealing_ids if (a := currents_a.get(u)) is not None}
        if len(known) < len(dealing_ids):
            return []  # a sum without one unit proves nothing; its silence ends its deals
        sum_a = sum(known.values())
        allowed_a = self._policy.leak_allowance_per_unit_a * len(known)
        if abs(sum_a) <= allowed_a:
            return []
        return [
            (
                "leak",
                f"the currents of {', '.join(sorted(known))} add up to {sum_a:+.3f} A, "
                f"more than {allowed_a:g} A",
            )
        ]
