"""Control parts of a converter, in C++: energy metering, slew limiting, the dead man of a port.

:mod:`apis_control.reference` has the same in plain Python, to compare against and to read.
"""

from apis_control._apis_control import (
    ControlError,
    EnergyMeter,
    InvalidTimeStep,
    InvalidValue,
    SlewLimiter,
)
from apis_control._port_guard import GuardFired, PortGuard

__all__ = [
    "ControlError",
    "EnergyMeter",
    "GuardFired",
    "InvalidTimeStep",
    "InvalidValue",
    "PortGuard",
    "SlewLimiter",
]
