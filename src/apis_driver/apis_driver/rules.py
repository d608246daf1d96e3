"""What a driver goes by that does not depend on the make of its converter."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import Field

from apis_driver.device import DeviceSettings

__all__ = ["GovernorSettings", "Times"]


class GovernorSettings(DeviceSettings):
    """The ``rules`` of a driver's part of the grid file.

    Attributes:
        nominal_voltage_v: Set point of the voltage in WAIT and while charging, if the order says
            none. [V]
        discharge_ceiling_v: The same while discharging. [V]
        reference_grace_s: For how long a voltage reference that must go lets the currents go
            first. [s]
        permit_grace_s: From the withdrawal of the battery's permission to the stop. The unit
            winds its deals down meanwhile; batteries must bear 100 s. [s]
        battery_lost_s: A battery silent for so long has withdrawn its permission. [s]
        lost_s: A converter that has said nothing sensible for so long is lost. [s]
        guard_margin_s: By how much the dead man below Python lets ours go first. [s]
        wait_limit_s: By when it must be in WAIT after the order. [s]
        check_setpoints_s: How often its set points are read, to notice a power cycle. [s]
        stop_slew_a_per_s: How fast its current runs down, until that has been learnt. [A/s]
        order_delay_s: How long an order of WAIT takes to be obeyed. [s]
    """

    nominal_voltage_v: float = Field(default=350.0, gt=0)
    discharge_ceiling_v: float = Field(default=380.0, gt=0)
    reference_grace_s: float = Field(default=2.0, ge=0, le=60)
    permit_grace_s: float = Field(default=60.0, ge=0, le=90)
    battery_lost_s: float = Field(default=10.0, gt=0, le=90)
    lost_s: float = Field(default=2.0, gt=0, le=60)
    guard_margin_s: float = Field(default=0.3, gt=0, le=10)
    wait_limit_s: float = Field(default=5.0, gt=0, le=60)
    check_setpoints_s: float = Field(default=5.0, gt=0)
    stop_slew_a_per_s: float = Field(default=20.0, gt=0, le=1000)
    order_delay_s: float = Field(default=0.01, ge=0, le=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """The clocks of one converter.

    Attributes:
        now_s: Steady. [s]
        plant_s: The time in which energy flows: the same, or a simulated one. [s]
        plant_rate: How fast that goes.
        pause: Waits so long, or until something urgent is to be done; true = there is.
        stamp_ns: Of a reading that is being made. Not of one that is being sent: a reply may be
            held up, and newer readings overtake it. [ns]
    """

    now_s: Callable[[], float] = time.monotonic
    plant_s: Callable[[], float] = time.monotonic
    plant_rate: float = 1.0
    pause: Callable[[float], object] = time.sleep
    stamp_ns: Callable[[], int] = time.time_ns
