"""A small converter of another maker: lines of text on RS-485, such as ``SET V=350.00*11``.

Every question and answer is a line that ends with ``*`` and two hexadecimal digits, all bytes
before them XORed. The converter answers STAT, GET and SET with what it holds, and ``ERR`` with a
reason.
"""

from __future__ import annotations

from functools import reduce
from operator import xor

from apis_core.model.types import Alarm, ConverterMode
from apis_driver.device import DcdcRating, DcdcSetpoints, DcdcStatus, DeadMan
from apis_driver.errors import (
    BadChecksum,
    BadFrame,
    DeviceRefused,
    DeviceTimeout,
    OutOfRange,
    ReadBackMismatch,
)
from apis_driver.line import Line, LineSettings
from apis_driver.transport import SerialSettings, SerialTransport, Transport

MODES = {
    "OFF": ConverterMode.WAIT,
    "CV": ConverterMode.VOLTAGE_REFERENCE,
    "OUT": ConverterMode.DISCHARGE,
    "IN": ConverterMode.CHARGE,
}
WORDS = {mode: word for word, mode in MODES.items()}
ALARMS = {"0": Alarm.NONE, "1": Alarm.LIGHT, "2": Alarm.HEAVY}


def line_of(text: str) -> bytes:
    """A text with its checksum."""
    return f"{text}*{reduce(xor, text.encode(), 0):02X}\n".encode()


class Answer:
    """Reads one line; see :class:`apis_driver.line.Reader`."""

    def __init__(self) -> None:
        self._bytes = b""
        self.received = 0
        self.foreign = 0  # it is alone on its line
        self.complaint: Exception = DeviceTimeout("no answer")

    @property
    def may_follow(self) -> bool:
        """Whether nothing of the answer has come."""
        return not self.received

    def feed(self, data: bytes) -> dict[str, str] | None:
        """The fields of a good line."""
        self._bytes += data
        self.received += len(data)
        *lines, self._bytes = self._bytes.split(b"\n")
        for line in lines:
            text = line.decode("ascii", "replace").rpartition("*")[0]
            if line_of(text) != line + b"\n":
                self.complaint = BadChecksum(f"{line!r} has a wrong checksum")
            elif text.startswith("ERR"):
                raise DeviceRefused(text)
            else:
                return dict(word.partition("=")[::2] for word in text.split())
        return None


class KestrelSettings(SerialSettings, LineSettings):
    """Settings of the port and the line; this converter has none of its own."""

    baud: int = 57600


class Kestrel:
    """See :class:`apis_driver.device.DcdcDevice`."""

    Settings = KestrelSettings

    def __init__(self, settings: KestrelSettings, transport: Transport | None = None) -> None:
        self.address = settings.port
        self.rating = DcdcRating(
            grid_voltage_min_v=300.0, grid_voltage_max_v=400.0, grid_current_max_a=2.0
        )
        self._transport = transport or SerialTransport(settings, line_of("SET MODE=OFF"))
        self._line = Line(self._transport, settings)
        self.counters = self._line.counters

    @property
    def dead_man(self) -> DeadMan | None:
        """What says OFF below Python."""
        return self._transport.dead_man

    def open(self, deadline_s: float) -> None:
        """OFF is the first word."""
        self._transport.open()
        self.set_mode(ConverterMode.WAIT, deadline_s)

    def close(self) -> None:
        """Let the port go."""
        self._transport.close()

    def read_status(self, deadline_s: float) -> DcdcStatus:
        """One question tells it all."""
        said = self._ask("STAT", deadline_s)
        return DcdcStatus(
            mode=MODES.get(said.get("MODE", ""), ConverterMode.UNKNOWN),
            mode_code=said.get("MODE", ""),
            alarm=ALARMS.get(said.get("AL", ""), Alarm.UNKNOWN),
            grid_voltage_v=_number(said, "VG"),
            grid_current_a=_number(said, "IG"),
            battery_voltage_v=_number(said, "VB"),
            battery_current_a=_number(said, "IB"),
            converter_temp_degc=_number(said, "T"),
        )

    def read_setpoints(self, deadline_s: float) -> DcdcSetpoints:
        """It has no droop."""
        said = self._ask("GET", deadline_s)
        return DcdcSetpoints(
            grid_voltage_v=_number(said, "V"), droop_ratio=0.0, grid_current_a=_number(said, "I")
        )

    def set_mode(self, mode: ConverterMode, deadline_s: float) -> None:
        """OFF, CV, OUT or IN."""
        if mode not in WORDS:
            raise OutOfRange(f"mode is {mode.name}, it must be one of the converter's four")
        self._set("MODE", WORDS[mode], deadline_s)

    def set_voltage(self, *, voltage_v: float, droop_ratio: float, deadline_s: float) -> None:
        """What it cannot hold is refused before a byte is sent."""
        low, high = self.rating.grid_voltage_min_v, self.rating.grid_voltage_max_v
        if not low <= voltage_v <= high or droop_ratio != 0.0:
            raise OutOfRange(
                f"{voltage_v} V, droop {droop_ratio}: {low:g} to {high:g} V, no droop"
            )
        self._set("V", f"{voltage_v:.2f}", deadline_s)

    def set_current(self, current_a: float, deadline_s: float) -> None:
        """The mode gives the direction."""
        if not 0.0 <= current_a <= self.rating.grid_current_max_a:
            most = self.rating.grid_current_max_a
            raise OutOfRange(f"current is {current_a} A, it must be from 0 to {most:g} A")
        self._set("I", f"{current_a:.3f}", deadline_s)

    def clear_alarms(self, deadline_s: float) -> None:
        """Any SET with AL does it."""
        self._set("AL", "0", deadline_s)

    def _set(self, name: str, value: str, deadline_s: float) -> None:
        held = self._ask(f"SET {name}={value}", deadline_s).get(name)
        if held != value:
            raise ReadBackMismatch(f"{self.address}: it holds {name} {held} and not {value}")

    def _ask(self, question: str, deadline_s: float) -> dict[str, str]:
        return self._line.ask(line_of(question), Answer, deadline_s)


def _number(said: dict[str, str], name: str) -> float:
    try:
        return float(said[name])
    except (KeyError, ValueError):
        raise BadFrame(f"{name} is {said.get(name)!r}, it must be a number") from None
