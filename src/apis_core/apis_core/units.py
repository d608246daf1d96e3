"""Conversions between units of measurement, each in one place.

Inside the core, time is an ``int`` of nanoseconds of a clock that never goes back. Seconds are for
configuration and people.
"""

from __future__ import annotations

__all__ = ["HOUR_NS", "NEVER_NS", "SECOND_NS", "ns_from_s", "s_from_ns", "wh_from_w"]

SECOND_NS = 1_000_000_000
HOUR_NS = 3_600 * SECOND_NS
NEVER_NS = 2**63 - 1  # later than everything; the largest time ROS can express


def ns_from_s(seconds: float) -> int:
    """Nanoseconds of a number of seconds, rounded to the nearest."""
    return round(seconds * SECOND_NS)


def s_from_ns(nanoseconds: int) -> float:
    """Seconds of a number of nanoseconds."""
    return nanoseconds / SECOND_NS


def wh_from_w(power_w: float, duration_ns: int) -> float:
    """Energy of a constant power over a time. [Wh]"""
    return power_w * duration_ns / HOUR_NS
