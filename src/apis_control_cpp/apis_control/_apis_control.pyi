"""What the compiled module offers. Misuse raises here, at the border; the C++ behind it never
throws.
"""

class ControlError(ValueError):
    """Base of what this module raises."""

class InvalidTimeStep(ControlError):
    """A time step that is not a finite number > 0."""

class InvalidValue(ControlError):
    """A quantity that is not a finite number, or out of its range."""

class EnergyMeter:
    """Counts the Wh that pass a terminal; + power = charging. Neither counter ever decreases.

    Sums with Neumaier's compensation, so that a year of milliwatt-seconds is not lost beside a
    large total.
    """

    def __init__(self) -> None: ...
    def add(self, power_w: float, dt_s: float) -> None:
        """Add a power sample [W] taken at the end of an interval [s, > 0], by the trapezoid rule.

        The first sample counts as constant over its interval. A change of sign inside an interval
        is split where the line crosses zero.
        """
    def add_mean(self, power_w: float, dt_s: float) -> None:
        """Add an interval [s, > 0] of which the mean power [W] is known."""
    @property
    def charged_wh(self) -> float:
        """Energy of positive power since construction. [Wh, >= 0]"""
    @property
    def discharged_wh(self) -> float:
        """Energy of negative power since construction, as a positive number. [Wh, >= 0]"""

class SlewLimiter:
    """A value that follows its reference no faster than ``rate_per_s`` and meets it without
    overshoot.
    """

    def __init__(self, rate_per_s: float, value: float = 0.0) -> None: ...
    def step(self, reference: float, dt_s: float) -> float:
        """Move towards ``reference`` for ``dt_s`` [s, > 0]; returns the new value."""
    def reset(self, value: float) -> None:
        """Jump to a value, as a trip does."""
    @property
    def value(self) -> float: ...
    @property
    def rate_per_s(self) -> float: ...
