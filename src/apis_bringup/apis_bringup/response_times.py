"""How long drivers of devices take to set and to read, against what they may take."""

from __future__ import annotations

import re
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray

from apis_bringup.graph import Graph
from apis_ros.topics import DIAGNOSTICS

__all__ = ["ResponseTimes"]

_NAME = re.compile(r"(\w+) driver: converter")


class ResponseTimes:
    """Listens to the diagnostics of all drivers; the emulator's own converters have none.

    Args:
        graph: Where.
    """

    def __init__(self, graph: Graph) -> None:
        self._newest: dict[str, dict[str, str]] = {}
        graph.subscribe(DiagnosticArray, DIAGNOSTICS.name, self._hear, DIAGNOSTICS.qos)

    def records(self) -> list[dict[str, Any]]:
        """For every driver that was heard, by unit: budget, median and worst time, how many late.

        ``what`` is ``settings`` or ``status``; times in s.
        """
        return [
            _record(unit_id, what, values)
            for unit_id, values in sorted(self._newest.items())
            for what in ("settings", "status")
        ]

    def _hear(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if found := _NAME.fullmatch(status.name):
                values = {item.key: item.value for item in status.values}
                if "status_late" in values:
                    self._newest[found[1].upper()] = values


def _record(unit_id: str, what: str, values: dict[str, str]) -> dict[str, Any]:
    late, _, count = values[f"{what}_late"].partition(" of ")
    return {
        "unit_id": unit_id,
        "what": what,
        "budget_s": float(values[f"{what}_budget_s"]),
        "median_s": float(values[f"{what}_median_s"]),
        "worst_s": float(values[f"{what}_worst_s"]),
        "late": int(late),
        "count": int(count),
    }
