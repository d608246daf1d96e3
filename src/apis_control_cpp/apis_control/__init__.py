"""The real-time heart, in C++: converters, their control loop, the bus, a whole plant, and the
dead man of a port.

:mod:`apis_control.reference` has the converter's parts in plain Python, to compare against and to
read.
"""

from apis_control._apis_control import (
    BusNetwork,
    ControlError,
    Controller,
    ControlLoop,
    Converter,
    Detached,
    EnergyMeter,
    HouseRun,
    HouseTables,
    InvalidTimeStep,
    InvalidValue,
    MailboxStage,
    NotObeyed,
    Plant,
    PlantUnit,
    PowerStage,
    SimulatedBus,
    SlewLimiter,
    Snapshot,
    Timing,
)
from apis_control._port_guard import GuardFired, PortGuard

__all__ = [
    "BusNetwork",
    "ControlError",
    "ControlLoop",
    "Controller",
    "Converter",
    "Detached",
    "EnergyMeter",
    "GuardFired",
    "HouseRun",
    "HouseTables",
    "InvalidTimeStep",
    "InvalidValue",
    "MailboxStage",
    "NotObeyed",
    "Plant",
    "PlantUnit",
    "PortGuard",
    "PowerStage",
    "SimulatedBus",
    "SlewLimiter",
    "Snapshot",
    "Timing",
]
