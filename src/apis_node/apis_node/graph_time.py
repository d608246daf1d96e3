"""The time that a unit's deadlines run on, also between two words of ``/clock``.

The emulator says the time some five times a second. A deadline that had to wait for the next word
would come up to a fifth of a second late, and a word for every instant would wake every unit fifty
times a second for nothing. So a unit reckons on from the last word, at the pace of the last two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

from rclpy.clock import Clock, JumpThreshold, ROSClock
from rclpy.duration import Duration
from rclpy.node import Node

from apis_ros.conversions import ROS_TIME, Instants

__all__ = ["GraphTime", "Reckoning", "SteadyTime", "Time", "UnitClock"]

COALESCED_NS = 5_000_000  # deadlines that lie closer together need not wake a unit twice


class Time(Protocol):
    """Where the present is, and how long to wait for an instant."""

    def now_ns(self) -> int:
        """The present; 0 while nobody has said it. [ns]"""
        ...

    def wait_ns(self, instant_ns: int) -> int | None:
        """Steady time until an instant, >= 0; None = ask again at the next word. [ns]"""
        ...


class SteadyTime:
    """The time of a clock that nobody can set back.

    Args:
        clock: It.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now_ns(self) -> int:
        """The present. [ns]"""
        return self._clock.now().nanoseconds

    def wait_ns(self, instant_ns: int) -> int:
        """Time until an instant, >= 0. [ns]"""
        return max(instant_ns - self.now_ns(), 0)


class Reckoning:
    """Reckons the time between words that say it. It never runs back, unless a word does.

    It runs at most as far ahead of the last word as that was ahead of the one before: when the
    words end, the time soon stands still.
    """

    def __init__(self) -> None:
        self.told_ns = 0
        self._heard_ns = 0  # steady
        self._pace = 0.0
        self._lead_ns = 0
        self._newest_ns = 0

    def hear(self, told_ns: int, steady_ns: int) -> None:
        """Take in a word that came at an instant of the steady clock. [ns]"""
        step_ns, wall_ns = told_ns - self.told_ns, steady_ns - self._heard_ns
        is_first = not self.told_ns or step_ns < 0
        self._lead_ns = 0 if is_first else step_ns
        self._pace = step_ns / wall_ns if wall_ns > 0 and not is_first else 0.0
        if is_first:
            self._newest_ns = 0
        self.told_ns, self._heard_ns = told_ns, steady_ns

    def now_ns(self, steady_ns: int) -> int:
        """The time at an instant of the steady clock. [ns]"""
        passed_ns = round((steady_ns - self._heard_ns) * self._pace)
        now_ns = self.told_ns + min(passed_ns, self._lead_ns)
        self._newest_ns = max(self._newest_ns, now_ns)
        return self._newest_ns

    def wait_ns(self, instant_ns: int, steady_ns: int) -> int | None:
        """Steady time until an instant, >= 0; None = another word comes before. [ns]"""
        left_ns = instant_ns - self.now_ns(steady_ns)
        if left_ns <= 0:
            return 0
        if self._pace <= 0.0 or instant_ns > self.told_ns + self._lead_ns:
            return None
        return round(left_ns / self._pace)


class GraphTime:
    """The time of ``/clock``.

    Args:
        clock: The node's, with simulated time.
        steady: Reckons between the words.
        heard: Called at every word; must neither raise nor wait.
    """

    def __init__(self, clock: ROSClock, steady: Clock, heard: Callable[[], None]) -> None:
        self._clock = clock
        self._steady = steady
        self._reckoning = Reckoning()
        self._heard = heard
        any_step = JumpThreshold(
            min_forward=Duration(nanoseconds=1), min_backward=Duration(nanoseconds=-1)
        )
        self._handle = clock.create_jump_callback(any_step, post_callback=self._hear)
        self._hear(None)

    def now_ns(self) -> int:
        """The present; 0 before the first word. [ns]"""
        return self._reckoning.now_ns(self._steady.now().nanoseconds)

    def wait_ns(self, instant_ns: int) -> int | None:
        """Steady time until an instant; None = ask again at the next word. [ns]"""
        wait_ns = self._reckoning.wait_ns(instant_ns, self._steady.now().nanoseconds)
        return max(wait_ns, COALESCED_NS) if wait_ns else wait_ns

    def _hear(self, _jump: object) -> None:
        told_ns = self._clock.now().nanoseconds
        if told_ns:
            self._reckoning.hear(told_ns, self._steady.now().nanoseconds)
            self._heard()


class UnitClock:
    """The agent's present, and what it is in ROS time.

    Deadlines run on `/clock` where there is one, else on a clock that nobody can set back.

    Args:
        node: Of the unit.
        steady: A clock that nobody can set back.
        on_word: Called after every word of `/clock`.
    """

    def __init__(self, node: Node, steady: Clock, on_word: Callable[[], None]) -> None:
        self._node = node
        self._is_simulated = bool(node.get_parameter("use_sim_time").value)
        self._time: Time = SteadyTime(steady)
        if self._is_simulated:
            self._time = GraphTime(cast(ROSClock, node.get_clock()), steady, on_word)

    def now_ns(self) -> int:
        """The present; 0 while nobody has said it. [ns]"""
        return self._time.now_ns()

    def wait_ns(self, instant_ns: int) -> int | None:
        """Steady time until an instant, >= 0; None = ask again at the next word. [ns]"""
        return self._time.wait_ns(instant_ns)

    def instants(self) -> Instants:
        """Converts the agent's instants to ROS time and back, now."""
        if self._is_simulated:
            return ROS_TIME
        return Instants(self.now_ns(), self._node.get_clock().now().nanoseconds)
