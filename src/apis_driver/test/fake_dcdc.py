"""A converter without a line: what the driver asks of a device, on a clock of its own."""

from __future__ import annotations

from typing import ClassVar

from apis_core.model.types import Alarm, ConverterMode
from apis_driver.device import DcdcRating, DcdcSetpoints, DcdcStatus, DeviceSettings
from apis_driver.errors import DeadManFired, DeviceTimeout

M = ConverterMode


class Clock:
    """Time that passes when somebody waits or talks."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def pass_(self, duration_s: float) -> None:
        self.now_s += max(duration_s, 0.0)


class FakeDeadMan:
    def __init__(self, clock: Clock, device: FakeDcdc) -> None:
        self.clock, self.device = clock, device
        self.until_s: float | None = None
        self.has_fired = False

    def renew(self, hold_s: float) -> bool:
        self.tick()
        if self.has_fired:
            return False
        self.until_s = self.clock() + hold_s
        return True

    def disarm(self) -> bool:
        fired, self.has_fired, self.until_s = self.has_fired, False, None
        return fired

    @property
    def fired(self) -> bool:
        self.tick()
        return self.has_fired

    def tick(self) -> None:
        if self.until_s is not None and self.clock() >= self.until_s:
            self.until_s, self.has_fired = None, True
            self.device.go_to(M.WAIT)


class FakeDcdc:
    """Follows its set point at a slew; obeys at once.

    Attributes:
        said: What it was told, in order.
        fail: Name of a method -> error that it raises.
        ig: Its current; + = charging. [A]
        reading_s: How long the next readings take. [s]
        rate: How fast its time goes.
    """

    Settings = DeviceSettings
    address = "fake"
    counters: ClassVar[dict[str, int]] = {}

    def __init__(
        self,
        clock: Clock,
        *,
        slew_a_per_s: float = 1.0,
        talk_s: float = 0.03,
        rate: float = 1.0,
    ) -> None:
        self.rating = DcdcRating(
            grid_voltage_min_v=260.0,
            grid_voltage_max_v=390.0,
            grid_current_max_a=8.5,
            droop_max_ratio=0.1,
        )
        self.clock, self.slew_a_per_s, self.talk_s = clock, slew_a_per_s, talk_s
        self.mode = M.WAIT
        self.alarm = Alarm.NONE
        self.set_v, self.droop, self.set_a = 300.0, 0.0, 1.0
        self.bus_v, self.ig, self.temp_degc = 350.0, 0.0, 30.0
        self.moved_ws = 0.0
        self.said: list[str] = []
        self.fail: dict[str, Exception] = {}
        self.dead_man: FakeDeadMan | None = None
        self.ignores_modes = False
        self.reading_s: list[float] = []
        self.rate = rate
        self._moved_s = clock()

    def go_to(self, mode: ConverterMode) -> None:
        self.move()
        self.mode = mode

    def move(self) -> None:
        """Let the current follow until now; counts what really flows."""
        if self.dead_man is not None:
            self.dead_man.tick()
        step_s = 0.001
        sign = {M.CHARGE: 1.0, M.DISCHARGE: -1.0}.get(self.mode, 0.0)
        while self._moved_s < self.clock() - 1e-9:
            wall_s = min(step_s, self.clock() - self._moved_s)
            dt_s = wall_s * self.rate
            if self.mode is not M.VOLTAGE_REFERENCE:
                gap_a = sign * self.set_a - self.ig
                self.ig += max(min(gap_a, self.slew_a_per_s * dt_s), -self.slew_a_per_s * dt_s)
            self.moved_ws += abs(self.bus_v * self.ig) * dt_s
            self._moved_s += wall_s

    def open(self, deadline_s: float) -> None:
        self._talk("open")
        self.go_to(M.WAIT)

    def close(self) -> None:
        self.said.append("close")

    def read_status(self, deadline_s: float) -> DcdcStatus:
        if self.reading_s:
            end_s = self.clock() + self.reading_s.pop(0)
            self.clock.pass_(min(end_s, deadline_s) - self.clock())
            self.move()
            if end_s > deadline_s:
                raise DeviceTimeout("it takes too long")
        self._talk("read")
        return DcdcStatus(
            mode=self.mode,
            mode_code=self.mode.name,
            alarm=self.alarm,
            grid_voltage_v=self.bus_v,
            grid_current_a=self.ig,
            battery_voltage_v=52.0,
            battery_current_a=self.ig * self.bus_v / 52.0,
            converter_temp_degc=self.temp_degc,
        )

    def read_setpoints(self, deadline_s: float) -> DcdcSetpoints:
        self._talk("setpoints")
        return DcdcSetpoints(
            grid_voltage_v=self.set_v, droop_ratio=self.droop, grid_current_a=self.set_a
        )

    def set_mode(self, mode: ConverterMode, deadline_s: float) -> None:
        self._order(f"mode {mode.name}")
        if not self.ignores_modes:
            self.go_to(mode)

    def set_voltage(self, *, voltage_v: float, droop_ratio: float, deadline_s: float) -> None:
        self._order(f"voltage {voltage_v:g} {droop_ratio:g}")
        self.set_v, self.droop = voltage_v, droop_ratio

    def set_current(self, current_a: float, deadline_s: float) -> None:
        self._order(f"current {current_a:g}")
        self.set_a = current_a

    def clear_alarms(self, deadline_s: float) -> None:
        self._order("clear")
        self.alarm = Alarm.NONE

    def _order(self, what: str) -> None:
        if self.dead_man is not None and self.dead_man.fired:
            raise DeadManFired("fired")
        self._talk(what)

    def _talk(self, what: str) -> None:
        name = what.split()[0]
        if error := self.fail.get(what) or self.fail.get(name):
            self.clock.pass_(0.3 if isinstance(error, DeviceTimeout) else 0.01)
            self.move()
            raise error
        if name not in ("read", "setpoints"):
            self.said.append(what)
        self.clock.pass_(self.talk_s)
        self.move()
