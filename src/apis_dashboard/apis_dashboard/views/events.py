"""What the lists of faults and events show."""

from __future__ import annotations

from datetime import tzinfo

from apis_dashboard import formatting
from apis_dashboard.model import Event
from apis_dashboard.views.common import State

__all__ = ["event_state"]


def event_state(event: Event, zone: tzinfo) -> State:
    """One line of the list of faults and events."""
    return {
        "level": formatting.LEVEL_WORDS[event.level],
        "time": formatting.clock_time(event.stamp_s, zone),
        "day": formatting.day(event.stamp_s, zone),
        "unit": event.unit_id,
        "text": event.text,
        "code": event.code,
        "present": event.is_present,
        "follows": formatting.follows(event) if event.code else "",
    }
