"""Control parts of a converter, in C++: energy metering and slew limiting.

:mod:`apis_control.reference` has the same in plain Python, to compare against and to read.
"""

from apis_control._apis_control import (
    ControlError,
    EnergyMeter,
    InvalidTimeStep,
    InvalidValue,
    SlewLimiter,
)

__all__ = ["ControlError", "EnergyMeter", "InvalidTimeStep", "InvalidValue", "SlewLimiter"]
