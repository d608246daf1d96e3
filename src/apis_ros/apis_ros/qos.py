"""Quality of service by name; :mod:`apis_ros.topics` says which topic has which.

No other module makes a profile. Who only listens may ask for less than is offered: the retained
past of a topic is left to others by listening with ``EVENT``.
"""

from __future__ import annotations

from collections.abc import Iterable

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

__all__ = [
    "CLOCK_HEARD",
    "EVENT",
    "ORDER",
    "RECORD",
    "STATE",
    "TELEMETRY",
    "is_retained",
    "profile",
    "that_hears",
]

_HEARD_DEPTH = 100


def profile(depth: int, *, is_retained: bool = False, is_reliable: bool = True) -> QoSProfile:
    """A profile that keeps the last `depth` messages.

    Args:
        depth: At least 1.
        is_retained: A latecomer gets what was said last (transient local).
        is_reliable: What is lost on the way is sent again.
    """
    return QoSProfile(
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if is_reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if is_retained else DurabilityPolicy.VOLATILE,
    )


TELEMETRY = profile(1)  # the newest reading is all that counts
STATE = profile(1, is_retained=True)  # a latecomer gets the present state
ORDER = profile(10, is_retained=True)  # a latecomer gets the last orders
RECORD = profile(100, is_retained=True)  # a latecomer gets the recent past
EVENT = profile(100)  # what was missed is not repeated
CLOCK_HEARD = profile(1, is_reliable=False)  # the next tick is better than a lost one


def is_retained(quality: QoSProfile) -> bool:
    """Whether a latecomer gets what was said last."""
    return bool(quality.durability == DurabilityPolicy.TRANSIENT_LOCAL)


def that_hears(offered: Iterable[QoSProfile]) -> QoSProfile:
    """The strictest profile with which every one of the publishers is heard."""
    offered = list(offered)
    return profile(
        _HEARD_DEPTH,
        is_retained=bool(offered) and all(map(is_retained, offered)),
        is_reliable=all(each.reliability != ReliabilityPolicy.BEST_EFFORT for each in offered),
    )
