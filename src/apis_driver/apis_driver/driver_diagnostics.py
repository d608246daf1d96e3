"""What a driver says once a second of its converter, its battery and its control loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus

from apis_control import Timing as LoopTiming
from apis_core.model.types import UnitId
from apis_driver.device import BatteryDevice, DcdcDevice
from apis_driver.unit_hardware import Timing, UnitHardware
from apis_ros.authenticator import MessageAuthenticator
from apis_ros.diagnostics import diagnosis

__all__ = ["DriverDiagnostics"]


@dataclass(slots=True)
class DriverDiagnostics:
    """Looks at the parts of a driver.

    Attributes:
        unit_id: Such as E001.
        dcdc: Its converter.
        battery: Its battery; None = somebody else's.
        hardware: What is read of both.
        authenticator: Who refuses what does not count.
    """

    unit_id: UnitId
    dcdc: DcdcDevice
    battery: BatteryDevice | None
    hardware: UnitHardware
    authenticator: MessageAuthenticator
    _missed: int = 0  # ticks of the control loop, by the last report

    def report(self, state: str, why: str, retry_s: float) -> list[DiagnosticStatus]:
        """Say how all is.

        Args:
            state: Of the driver's lifecycle.
            why: Why the device could not be reached; empty = it could.
            retry_s: Until it is tried again. [s]
        """
        report = [self._converter(state, why, retry_s)]
        if self.battery is not None:
            report.append(self._battery(self.battery))
        # only of a device that is regulated in this process
        timing: LoopTiming | None = getattr(self.dcdc, "loop_timing", None)
        if timing is not None:
            report.append(self._loop(timing))
        return report

    def _converter(self, state: str, why: str, retry_s: float) -> DiagnosticStatus:
        hardware, status = self.hardware, self.hardware.governor.status
        level, text = DiagnosticStatus.OK, state
        if state == "unconfigured":
            level, text = DiagnosticStatus.ERROR, f"not connected: {why}"
        elif hardware.settings_timing.late or hardware.status_timing.late:
            level, text = DiagnosticStatus.WARN, f"{state}; slower than its budget at times"
        elif self.authenticator.is_alarmed:
            level, text = DiagnosticStatus.WARN, f"refused: {self.authenticator.last_refusal}"
        values = {
            "address": self.dcdc.address,
            "words_refused": str(self.authenticator.refused.total()),
            "state": state,
            "mode": f"{status.mode.name} {status.mode_code}".strip(),
            "alarm": f"{status.alarm.name} {status.alarm_text}".strip(),
            "dead_man": "yes" if self.dcdc.dead_man is not None else "no",
            "retry_s": f"{retry_s:.1f}",
            **_timing_values("settings", hardware.settings_timing),
            **_timing_values("status", hardware.status_timing),
            **{f"line.{name}": str(count) for name, count in hardware.counters.items()},
        }
        return self._of("converter", level, text, values)

    def _battery(self, battery: BatteryDevice) -> DiagnosticStatus:
        permit = self.hardware.governor.permit
        level, text = DiagnosticStatus.OK, "permits " + (permit.name if permit else "NONE")
        if self.hardware.battery_failure:
            level, text = DiagnosticStatus.ERROR, f"no answer: {self.hardware.battery_failure}"
        values = {
            "address": battery.address,
            **{f"line.{name}": str(count) for name, count in battery.counters.items()},
        }
        return self._of("battery", level, text, values)

    def _loop(self, timing: LoopTiming) -> DiagnosticStatus:
        """How well the control loop keeps its time."""
        missed, self._missed = timing.misses - self._missed, timing.misses
        level, text = DiagnosticStatus.OK, "keeps its time"
        if missed > 0:
            level, text = DiagnosticStatus.WARN, f"{missed} ticks missed since the last report"
        due = timing.ticks + timing.misses
        values = {
            "rate_hz": f"{self.dcdc.rate_hz:g}",  # type: ignore[attr-defined]
            "ticks": str(timing.ticks),
            "misses": str(timing.misses),
            "miss_ratio": f"{timing.misses / max(due, 1):.3g}",
            "jitter_p50_us": f"{timing.jitter_p50_us:.0f}",
            "jitter_p99_us": f"{timing.jitter_p99_us:.0f}",
            "jitter_p999_us": f"{timing.jitter_p999_us:.0f}",
            "jitter_max_us": f"{timing.jitter_max_us:.0f}",
            "realtime_priority": "yes" if timing.is_realtime else "no",
        }
        return self._of("control loop", level, text, values)

    def _of(
        self, part: str, level: bytes, text: str, values: Mapping[str, object]
    ) -> DiagnosticStatus:
        name = f"{self.unit_id.lower()} driver: {part}"
        return diagnosis(name, f"{self.unit_id} {part}", level, text, values)


def _timing_values(name: str, timing: Timing) -> dict[str, str]:
    return {
        f"{name}_budget_s": f"{timing.budget_s:g}",
        f"{name}_median_s": f"{timing.median_s:.3f}",
        f"{name}_worst_s": f"{timing.worst_s:.3f}",
        f"{name}_late": f"{timing.late} of {timing.count}",
    }
