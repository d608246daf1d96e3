"""A converter's device with all that is known of it: what it does, was told, and has moved."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace

from apis_core.converter.driver_contract import NO_CURRENT_A, Complaint
from apis_core.model.messages import ConverterReading
from apis_core.model.types import ConverterMode
from apis_driver.counting import EnergyCounter
from apis_driver.device import DcdcDevice, DcdcSetpoints, DcdcStatus
from apis_driver.errors import BadFrame, DeviceError, DeviceTimeout, PortError, ReadBackMismatch
from apis_driver.rules import GovernorSettings, Times

__all__ = ["Converter"]

_CONFIRM_EVERY_S = 0.02
_SAME_RATIO = 0.01
_OFF = DcdcSetpoints(grid_voltage_v=0.0, droop_ratio=0.0, grid_current_a=0.0)


class Converter:
    """One converter, called by one thread only.

    Args:
        device: Not yet open.
        settings: See there.
        times: Its clocks.

    Attributes:
        status: The last reading.
        setpoints: What it was last seen to hold as told.
        ordered: The mode that it was ordered to last.
        counter: Its energy.
        lost: Why it must be opened again; empty = it need not.
        complaints: What has happened and has not been told yet.
    """

    def __init__(self, device: DcdcDevice, settings: GovernorSettings, times: Times) -> None:
        self.device = device
        self._settings = settings
        self._times = times
        self.counter = EnergyCounter(settings.stop_slew_a_per_s)
        self.status = DcdcStatus(mode=ConverterMode.UNKNOWN)
        self.setpoints = DcdcSetpoints()
        self._wanted = DcdcSetpoints()
        self.ordered = ConverterMode.WAIT
        self._read_s = self._checked_s = -math.inf
        self.lost = ""
        self.complaints: deque[Complaint] = deque(maxlen=100)

    @property
    def mode(self) -> ConverterMode:
        """The mode that the converter itself reported last."""
        return self.status.mode

    @property
    def carries_current(self) -> bool:
        """Whether so much flows that a voltage reference is not to be switched off lightly."""
        return abs(self.status.grid_current_a or 0.0) > NO_CURRENT_A

    @property
    def age_s(self) -> float:
        """Age of the last reading; inf = there is none. [s]"""
        return self._times.now_s() - self._read_s

    @property
    def stop_due_in_s(self) -> float:
        """Until a stop at the energy limit must be ordered; inf = none is in sight. [s]"""
        if not self.mode.is_active:
            return math.inf
        rate = self._times.plant_rate
        due_s = self.counter.stop_due_s(self.mode, self._settings.order_delay_s * rate)
        return (due_s - self._times.plant_s()) / rate

    # --- reading ---------------------------------------------------------------------------------

    def read(self, deadline_s: float) -> None:
        """Read its status, and count."""
        self.status = self.device.read_status(deadline_s)
        self._read_s = self._times.now_s()
        at_s = self._times.plant_s()
        if at_s > 0.0:  # at ROS time 0 no clock has been heard: how long it was is not known
            self.counter.add(self.status, at_s)

    def confirm(self, mode: ConverterMode, deadline_s: float) -> None:
        """See by its own word that it is in a mode.

        Raises:
            ReadBackMismatch: It is in another when time is up.
        """
        while True:
            self.read(deadline_s)
            if self.mode is mode:
                return
            if self._times.now_s() + _CONFIRM_EVERY_S >= deadline_s:
                raise ReadBackMismatch(
                    f"{self.device.address}: it is in {self.mode.name} "
                    f"({self.status.mode_code}), it was ordered to {mode.name}"
                )
            self._times.pause(_CONFIRM_EVERY_S)

    def check_setpoints(self, deadline_s: float) -> str:
        """See from time to time that it holds what it was told; returns what is wrong.

        A device that has lost its set points has lost its thresholds too.
        """
        now_s = self._times.now_s()
        if now_s < self._checked_s + self._settings.check_setpoints_s:
            return ""
        self._checked_s = now_s
        found = self.device.read_setpoints(deadline_s)
        for name in ("grid_voltage_v", "grid_current_a", "droop_ratio"):
            told, wanted = getattr(found, name), getattr(self._wanted, name)
            if told is None or wanted is None:
                continue
            if abs(told - wanted) > _SAME_RATIO * max(abs(wanted), 1.0):
                return f"it holds {name} {told:g} and not {wanted:g}: was its power cycled?"
        self.setpoints = found
        return ""

    def fill(self, reading: ConverterReading) -> ConverterReading:
        """A reading with all that is known now: of one that has gone silent only the counters."""
        charged_wh, discharged_wh = self.counter.grid_wh
        battery_charged_wh, battery_discharged_wh = self.counter.battery_wh
        reading = replace(
            reading,
            grid_charged_wh=charged_wh,
            grid_discharged_wh=discharged_wh,
            battery_charged_wh=battery_charged_wh,
            battery_discharged_wh=battery_discharged_wh,
        )
        if self.lost or self.age_s > self._settings.lost_s:
            return replace(reading, stop_detail=self.lost or "it does not answer")
        status = self.status
        setpoints = self.setpoints if self.mode.is_active else _OFF
        return replace(
            reading,
            mode=status.mode,
            alarm=status.alarm,
            grid_voltage_v=status.grid_voltage_v,
            grid_current_a=status.grid_current_a,
            grid_power_w=status.grid_power_w,
            battery_voltage_v=status.battery_voltage_v,
            battery_current_a=status.battery_current_a,
            battery_power_w=status.battery_power_w,
            converter_temp_degc=status.converter_temp_degc,
            grid_voltage_setpoint_v=setpoints.grid_voltage_v,
            grid_current_setpoint_a=setpoints.grid_current_a,
            droop_ratio=setpoints.droop_ratio,
        )

    # --- setting ---------------------------------------------------------------------------------

    def set_voltage(self, voltage_v: float, droop_ratio: float, deadline_s: float) -> None:
        """Tell it voltage and droop, and remember that."""
        self.device.set_voltage(
            voltage_v=voltage_v, droop_ratio=droop_ratio, deadline_s=deadline_s
        )
        self._wanted = replace(self._wanted, grid_voltage_v=voltage_v, droop_ratio=droop_ratio)
        self.setpoints = replace(self.setpoints, grid_voltage_v=voltage_v, droop_ratio=droop_ratio)

    def set_current(self, current_a: float, deadline_s: float) -> None:
        """Tell it a current, and remember that."""
        self.device.set_current(current_a, deadline_s)
        self._wanted = replace(self._wanted, grid_current_a=current_a)
        self.setpoints = replace(self.setpoints, grid_current_a=current_a)

    def rest(self, deadline_s: float) -> None:
        """Set points of WAIT: nothing that follows may start with old ones."""
        self.set_voltage(self._settings.nominal_voltage_v, 0.0, deadline_s)
        self.set_current(0.0, deadline_s)

    # --- what goes wrong -------------------------------------------------------------------------

    def note_failure(self, failure: DeviceError) -> None:
        """It did not do as asked; it is lost if its port is, or if it has been silent for long."""
        is_silent = isinstance(failure, (DeviceTimeout, BadFrame))
        if isinstance(failure, PortError) or (is_silent and self.age_s > self._settings.lost_s):
            if not self.lost:
                self.complain("converter_unreachable", str(failure))
            self.lost = str(failure)

    def complain(self, code: str, message: str) -> None:
        """Keep a complaint for the node to publish."""
        self.complaints.append(Complaint(code, message))
