"""A power stage of one's own, regulated by the control loop in this process.

Other devices regulate themselves, and are told set points. Here :class:`apis_control.ControlLoop`
does it, a thousand times a second in a C++ thread: it protects, ramps, holds the voltage or the
current, and is its own dead man. What it measures and drives is a *power stage*: a C++ class of
the integrator's, a :class:`apis_control.MailboxStage`, or a simulated one, to try it.
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import Field

from apis_control import (
    ControlError,
    ControlLoop,
    NotObeyed,
    PowerStage,
    SimulatedBus,
    Snapshot,
    Timing,
)
from apis_core.model.types import Alarm, ConverterMode, StopCause
from apis_driver.device import (
    DcdcRating,
    DcdcSetpoints,
    DcdcStatus,
    DeviceSettings,
    Running,
)
from apis_driver.errors import DeviceRefused, DeviceTimeout, OutOfRange, PortError

__all__ = ["LoopDcdc", "LoopSettings"]

FIRST_HOLD_S = 5.0  # until the driver has said for how long its order is to last
RATED_CURRENT_A = 7.8125  # of the loop's own defaults
SIMULATED = "simulated"
_MODES = tuple(ConverterMode)
_ALARMS = tuple(Alarm)


class LoopSettings(DeviceSettings):
    """Settings of the loop.

    Attributes:
        stage: ``simulated``, or ``package.module:function``, which is called with `stage_settings`
            and returns an :class:`apis_control.PowerStage`.
        stage_settings: For it.
        rate_hz: Ticks a second.
        priority: SCHED_FIFO priority that is asked for; 0 = none.
        converter: Fields of ``ConverterParameters`` (converter.hpp).
        control: Fields of ``ControlParameters`` (controller.hpp).
        grid_voltage_min_v: Lowest voltage that it can be told to hold. [V]
        grid_voltage_max_v: Highest. [V]
        droop_max_ratio: Highest droop.
    """

    stage: str = SIMULATED
    stage_settings: dict[str, Any] = Field(default_factory=dict)
    rate_hz: float = Field(default=1000.0, ge=1, le=10_000)
    priority: int = Field(default=0, ge=0, le=99)
    converter: dict[str, float] = Field(default_factory=dict)
    control: dict[str, float] = Field(default_factory=dict)
    grid_voltage_min_v: float = Field(default=260.0, gt=0)
    grid_voltage_max_v: float = Field(default=390.0, gt=0)
    droop_max_ratio: float = Field(default=0.1, ge=0, le=1)


class _LoopDeadMan:
    """The loop ends by itself what is not renewed; see :class:`apis_driver.device.DeadMan`."""

    def __init__(self, loop: Callable[[], ControlLoop]) -> None:
        self._loop = loop
        self._is_armed = False

    def renew(self, hold_s: float) -> bool:
        """False: the loop is off, or on its way, because nobody renewed in time."""
        try:
            self._loop().hold(hold_s)
        except NotObeyed:
            return not self.fired
        self._is_armed = True
        return True

    def disarm(self) -> bool:
        """Disarm the dead man; True = it had fired."""
        had_fired, self._is_armed = self.fired, False
        return had_fired

    @property
    def fired(self) -> bool:
        """Whether the last order ran out."""
        return self._is_armed and self._loop().snapshot().stop_cause == StopCause.HOLD_EXPIRED


class LoopDcdc:
    """See :class:`apis_driver.device.DcdcDevice`; nothing here waits for longer than a tick."""

    Settings = LoopSettings

    def __init__(self, settings: LoopSettings) -> None:
        self._settings = settings
        self._stage = _maker(settings.stage)
        self._loop: ControlLoop | None = None
        self._voltage_v, self._droop_ratio, self._current_a = 350.0, 0.0, 0.0
        self._battery: tuple[float, float] = (0.0, 0.0)  # when, and what had passed. [s, Wh]
        self.address = f"control loop on {settings.stage}"
        self.counters: Mapping[str, int] = {}
        self.rating = DcdcRating(
            grid_voltage_min_v=settings.grid_voltage_min_v,
            grid_voltage_max_v=settings.grid_voltage_max_v,
            grid_current_max_a=settings.converter.get("rated_current_a", RATED_CURRENT_A),
            droop_max_ratio=settings.droop_max_ratio,
        )
        self._dead_man = _LoopDeadMan(self._running)

    # --- what only this device has ---------------------------------------------------------------

    @property
    def rate_hz(self) -> float:
        """Ticks a second."""
        return self._settings.rate_hz

    @property
    def loop_timing(self) -> Timing | None:
        """How late ticks began, since it was opened; None = it is not open."""
        return None if self._loop is None else self._loop.timing()

    # --- the device ------------------------------------------------------------------------------

    @property
    def dead_man(self) -> _LoopDeadMan | None:
        """The dead man, which is the loop itself."""
        return None if self._loop is None else self._dead_man

    def open(self, deadline_s: float) -> None:
        """A loop begins in WAIT; returns after its first tick."""
        self.close()
        settings = self._settings
        try:
            stage = self._stage(**settings.stage_settings)
            self._loop = ControlLoop(
                stage,
                converter=settings.converter,
                control=settings.control,
                rate_hz=settings.rate_hz,
                priority=settings.priority,
            )
        except (ControlError, TypeError, OSError) as error:
            raise PortError(f"{self.address}: {error}") from error
        self._dead_man.disarm()
        while not (seen := self._loop.snapshot()).ticks:  # until then nothing has been measured
            if time.monotonic() >= deadline_s:
                self.close()
                raise DeviceTimeout(f"{self.address}: the loop does not begin")
            time.sleep(1.0 / settings.rate_hz)
        self._battery = (seen.time_s, _battery_wh(seen))

    def close(self) -> None:
        """Switch the converter off and end the thread."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.end()

    def read_status(self, deadline_s: float) -> DcdcStatus:
        """What the last tick has seen."""
        seen = self._running().snapshot()
        mode = _MODES[seen.mode]
        return DcdcStatus(
            mode=mode,
            running=_running(mode, seen.ordered_a),
            alarm=_ALARMS[seen.alarm],
            alarm_text=seen.stop_detail,
            grid_voltage_v=_known(seen.bus_v),
            grid_current_a=_known(seen.current_a),
            battery_power_w=self._battery_w(seen),
            converter_temp_degc=_known(seen.temp_degc),
        )

    def read_setpoints(self, deadline_s: float) -> DcdcSetpoints:
        """What it is told, or will be told with the next mode."""
        return DcdcSetpoints(
            grid_voltage_v=self._voltage_v,
            droop_ratio=self._droop_ratio,
            grid_current_a=self._current_a,
        )

    def set_mode(self, mode: ConverterMode, deadline_s: float) -> None:
        """Set the mode; for WAIT the converter runs down in order."""
        loop = self._running()
        if mode is ConverterMode.WAIT:
            loop.wait()
            return
        if not mode.is_active:
            raise OutOfRange(f"mode is {mode.name}, it must be one of the loop's four")
        is_reference = mode is ConverterMode.VOLTAGE_REFERENCE
        self._order(
            loop.set_mode,
            int(mode),
            hold_s=FIRST_HOLD_S,
            current_a=(self._current_a or None) if is_reference else self._current_a,
            voltage_v=self._voltage_v if is_reference else None,
            droop_ratio=self._droop_ratio if is_reference else 0.0,
        )

    def set_voltage(self, *, voltage_v: float, droop_ratio: float, deadline_s: float) -> None:
        """Of a voltage reference now, of any other with the next mode."""
        rating = self.rating
        low_v, high_v = rating.grid_voltage_min_v, rating.grid_voltage_max_v
        if not (low_v <= voltage_v <= high_v and 0.0 <= droop_ratio <= rating.droop_max_ratio):
            raise OutOfRange(
                f"{voltage_v:g} V, droop {droop_ratio:g}: it must be {low_v:g} to {high_v:g} V, "
                f"droop 0 to {rating.droop_max_ratio:g}"
            )
        loop = self._running()
        if loop.snapshot().mode == ConverterMode.VOLTAGE_REFERENCE:
            self._order(loop.set_voltage, voltage_v, droop_ratio=droop_ratio)
        self._voltage_v, self._droop_ratio = voltage_v, droop_ratio

    def set_current(self, current_a: float, deadline_s: float) -> None:
        """The mode gives the direction."""
        most_a = self.rating.grid_current_max_a
        if not 0.0 <= current_a <= most_a:
            raise OutOfRange(f"current is {current_a:g} A, it must be from 0 to {most_a:g} A")
        loop = self._running()
        seen = loop.snapshot()
        if _MODES[seen.mode].is_active and not seen.is_stopping:
            self._order(loop.set_current, current_a)
        self._current_a = current_a

    def clear_alarms(self, deadline_s: float) -> None:
        """Clear alarms by ordering WAIT, which acknowledges them."""
        self._running().wait()

    # --- inside ----------------------------------------------------------------------------------

    def _running(self) -> ControlLoop:
        if self._loop is None or not self._loop.is_running:
            raise PortError(f"{self.address}: it is not open")
        return self._loop

    @staticmethod
    def _order(order: Callable[..., None], *values: float, **more: float | None) -> None:
        try:
            order(*values, **more)
        except NotObeyed as refused:
            raise DeviceRefused(str(refused)) from None
        except ControlError as wrong:
            raise OutOfRange(str(wrong)) from None

    def _battery_w(self, seen: Snapshot) -> float:
        """Mean power into the battery since the last reading. [W]"""
        (before_s, before_wh), now_wh = self._battery, _battery_wh(seen)
        self._battery = (seen.time_s, now_wh)
        passed_s = seen.time_s - before_s
        return (now_wh - before_wh) * 3600.0 / passed_s if passed_s > 0.0 else 0.0


def _simulated(**values: float) -> PowerStage:
    """One power stage on a bus of its own."""
    return SimulatedBus(1, **values).stage(0)


def _maker(name: str) -> Callable[..., PowerStage]:
    """What makes the power stage.

    Raises:
        OutOfRange: There is nothing of this name.
    """
    if name == SIMULATED:
        return _simulated
    module, _, function = name.partition(":")
    try:
        maker: Callable[..., PowerStage] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        right = f"it must be {SIMULATED}, or package.module:function ({error})"
        raise OutOfRange(f"stage is {name}; {right}") from error
    return maker


def _battery_wh(seen: Snapshot) -> float:
    return seen.battery_charged_wh - seen.battery_discharged_wh


def _running(mode: ConverterMode, ordered_a: float) -> Running:
    if not mode.is_active:
        return Running.OFF
    return Running.CHARGE if ordered_a > 0.0 else Running.DISCHARGE


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
