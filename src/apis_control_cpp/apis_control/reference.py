"""The slow twin: the same parts in plain Python, exact where that is easy. Tests compare the C++
against it.
"""

from __future__ import annotations

from fractions import Fraction

__all__ = ["EnergyMeter", "SlewLimiter"]

_SECONDS_PER_HOUR = 3600


class EnergyMeter:
    """As :class:`apis_control.EnergyMeter`, summing in exact rational numbers."""

    def __init__(self) -> None:
        self._charged_ws = Fraction(0)
        self._discharged_ws = Fraction(0)
        self._last_power_w: Fraction | None = None

    def add(self, power_w: float, dt_s: float) -> None:
        """Trapezoid with the sample before; a crossing of zero is split."""
        power, dt = Fraction(power_w), Fraction(dt_s)
        before = power if self._last_power_w is None else self._last_power_w
        if before * power < 0:
            crossing = dt * before / (before - power)
            self._count(before * crossing / 2)
            self._count(power * (dt - crossing) / 2)
        else:
            self._count((before + power) * dt / 2)
        self._last_power_w = power

    def add_mean(self, power_w: float, dt_s: float) -> None:
        """An interval of known mean power."""
        self._count(Fraction(power_w) * Fraction(dt_s))
        self._last_power_w = Fraction(power_w)

    @property
    def charged_wh(self) -> float:
        """Energy of positive power. [Wh, >= 0]"""
        return float(self._charged_ws / _SECONDS_PER_HOUR)

    @property
    def discharged_wh(self) -> float:
        """Energy of negative power, as a positive number. [Wh, >= 0]"""
        return float(self._discharged_ws / _SECONDS_PER_HOUR)

    def _count(self, energy_ws: Fraction) -> None:
        if energy_ws > 0:
            self._charged_ws += energy_ws
        else:
            self._discharged_ws -= energy_ws


class SlewLimiter:
    """As :class:`apis_control.SlewLimiter`."""

    def __init__(self, rate_per_s: float, value: float = 0.0) -> None:
        self.rate_per_s = rate_per_s
        self.value = value

    def step(self, reference: float, dt_s: float) -> float:
        """Move towards the reference by at most the rate times the time."""
        bound = self.rate_per_s * dt_s
        if abs(reference - self.value) <= bound:
            self.value = reference
        else:
            self.value += bound if reference > self.value else -bound
        return self.value

    def reset(self, value: float) -> None:
        """Jump."""
        self.value = value
