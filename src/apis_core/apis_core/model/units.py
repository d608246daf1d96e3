"""Conversions between units of measurement, each in one place.

Inside the core, time is an ``int`` of nanoseconds of a clock that never goes back. Seconds are for
configuration and people.
"""

from __future__ import annotations

__all__ = [
    "DAY_S",
    "FIRST_TIME_S",
    "HOUR_NS",
    "LAST_TIME_S",
    "NEVER_NS",
    "SECOND_NS",
    "ns_from_s",
    "s_from_ns",
    "wh_from_w",
]

SECOND_NS = 1_000_000_000
DAY_S = 86_400
HOUR_NS = 3_600 * SECOND_NS
NEVER_NS = 2**63 - 1  # later than everything; the largest time ROS can express
# A time in a message has 32 bits of seconds since 1970, with a sign: to 2038-01-19 03:14:07 UTC.
# A grid lives a day away from either end, for what it says of times before and after now.
FIRST_TIME_S = 86_400
LAST_TIME_S = 2**31 - 1 - 86_400


def ns_from_s(seconds: float) -> int:
    """Nanoseconds of a number of seconds, rounded to the nearest."""
    return round(seconds * SECOND_NS)


def s_from_ns(nanoseconds: int) -> float:
    """Seconds of a number of nanoseconds."""
    return nanoseconds / SECOND_NS


def wh_from_w(power_w: float, duration_ns: int) -> float:
    """Energy of a constant power over a time. [Wh]"""
    return power_w * duration_ns / HOUR_NS
