"""How fast simulated time goes."""

from __future__ import annotations

__all__ = ["Pacer"]

LONGEST_TICK_S = 0.1  # [s] wall time that one tick makes good at most
WINDOW_S = 5.0
SLOW_RATIO = 0.9


class Pacer:
    """Turns wall time into simulated time at a given speed.

    A process that cannot keep up lets simulated time go slower; it never jumps to catch up, since
    a jump would look like silence to everybody who waits for something.

    Args:
        speed: Simulated seconds per wall second, > 0.
        now_s: Steady clock. [s]
    """

    def __init__(self, speed: float, now_s: float) -> None:
        self.speed = speed
        self.kept_ratio = 1.0  # of that speed, over the last few seconds
        self._last_s = now_s
        self._window_start_s = now_s
        self._granted_s = 0.0
        self._has_complained = False

    def due_s(self, now_s: float) -> float:
        """Simulated time to pass since the last call, >= 0. [s]"""
        granted_s = min(now_s - self._last_s, LONGEST_TICK_S)
        self._last_s = now_s
        self._granted_s += granted_s
        return granted_s * self.speed

    @property
    def is_slow(self) -> bool:
        """Whether simulated time falls behind what was asked for."""
        return self.kept_ratio < SLOW_RATIO

    def complaint(self, now_s: float) -> str:
        """One line when the last few seconds were too slow, once; else empty."""
        elapsed_s = now_s - self._window_start_s
        if elapsed_s < WINDOW_S:
            return ""
        self.kept_ratio = self._granted_s / elapsed_s
        self._window_start_s, self._granted_s = now_s, 0.0
        if self._has_complained or not self.is_slow:
            return ""
        self._has_complained = True
        return (
            f"this machine is too slow for speed {self.speed:g}: "
            f"simulated time goes at {self.kept_ratio * self.speed:.3g} instead"
        )
