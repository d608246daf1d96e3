"""TDK-Lambda EZA2500 (EZA-2500-32048SC0): a 2.5 kW converter on RS-485."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median_low

from pydantic import Field

from apis_core.model.types import Alarm, ConverterMode
from apis_driver.codec import Exact, exact
from apis_driver.device import (
    DcdcRating,
    DcdcSetpoints,
    DcdcStatus,
    DeadMan,
    Running,
)
from apis_driver.errors import (
    DeviceRefused,
    DeviceTimeout,
    ForeignDevice,
    OutOfRange,
    ReadBackMismatch,
)
from apis_driver.eza2500_protocol import Addresses, ReplyReader, encode_request, table
from apis_driver.line import Line, LineSettings
from apis_driver.transport import SerialSettings, SerialTransport, Transport

__all__ = ["Eza2500", "Eza2500Settings"]

MODE_CODES = {
    ConverterMode.WAIT: 0x0000,
    ConverterMode.DISCHARGE: 0x0002,
    ConverterMode.VOLTAGE_REFERENCE: 0x0014,
    ConverterMode.CHARGE: 0x0041,
}
_MODES = {code: mode for mode, code in MODE_CODES.items()}
_RUNNING = {0: Running.OFF, 1: Running.CHARGE, 2: Running.DISCHARGE}
_ALARMS = {0: Alarm.NONE, 1: Alarm.LIGHT, 2: Alarm.HEAVY}
_RATING_TOLERANCE = 0.001
_WRITE_TRIES = 3
_TRIES = 3


class Eza2500Settings(SerialSettings, LineSettings):
    """Settings of an EZA2500; in brackets the register, with the original driver's values.

    Attributes:
        converter_address, host_address: On the line (``address1``, ``address2``).
        battery_current_limit_a: Battery side current limit [cib]. [A]
        battery_under_voltage_v, battery_over_voltage_v: Protection thresholds [ubv, obv]. [V]
        grid_under_voltage_v, grid_over_voltage_v: Protection thresholds [ugv, ogv]. [V]
        battery_configuration: Bits of the converter's configuration [bcf].
        battery_target_v: Target of charging [cvb]. [V]
        battery_droop_ratio: Droop of the battery side [drb].
        end_of_discharge_v: Of the battery [dlb]. [V]
        charge_warning_v, discharge_warning_v: Deviations that warn of the ends [cdb, ddb]. [V]
        check_scaling: Ask the device for its exponents and ratings at the start and refuse to
            run when they are not those of the table.
    """

    converter_address: int = Field(default=0, ge=0, le=255)
    host_address: int = Field(default=16, ge=0, le=255)
    battery_current_limit_a: float = 52.0
    battery_under_voltage_v: float = 40.0
    battery_over_voltage_v: float = 59.0
    grid_under_voltage_v: float = 300.0
    grid_over_voltage_v: float = 400.0
    battery_configuration: int = 0x0003
    battery_target_v: float = 57.6
    battery_droop_ratio: float = 0.0
    end_of_discharge_v: float = 49.0
    charge_warning_v: float = 1.2
    discharge_warning_v: float = 1.8
    check_scaling: bool = True

    @property
    def thresholds(self) -> dict[str, float]:
        """Registers of 6-4, except the grid current."""
        return {
            "cib": self.battery_current_limit_a,
            "ubv": self.battery_under_voltage_v,
            "ugv": self.grid_under_voltage_v,
            "obv": self.battery_over_voltage_v,
            "ogv": self.grid_over_voltage_v,
        }

    @property
    def battery(self) -> dict[str, float]:
        """Registers of 7-4."""
        return {
            "bcf": self.battery_configuration,
            "cvb": self.battery_target_v,
            "dlb": self.end_of_discharge_v,
            "cdb": self.charge_warning_v,
            "ddb": self.discharge_warning_v,
        }


class Eza2500:
    """See :class:`apis_driver.device.DcdcDevice`.

    Its checksum adds bytes, so two flipped bits can cancel out. While the line is noisy every
    reading is therefore taken more than once: two equal answers are believed, and of three
    different ones the middle value of each field. Settings are safe without that: the answer to
    a write says what the converter holds.

    Args:
        settings: Of the port, the line and the converter.
        transport: Instead of a serial port, for tests.
    """

    Settings = Eza2500Settings

    def __init__(self, settings: Eza2500Settings, transport: Transport | None = None) -> None:
        self.address = settings.port
        limits = {
            field.name: field.spec for c in ("4-4", "6-4") for field in table()[c].request.fields
        }
        self.rating = DcdcRating(
            grid_voltage_min_v=float(limits["dvg"].min or 0),
            grid_voltage_max_v=float(limits["dvg"].max or 0),
            grid_current_max_a=float(limits["dig"].max or 0),
            droop_max_ratio=float(limits["drg"].max or 0),
        )
        self._settings = settings
        self._at = Addresses(settings.converter_address, settings.host_address)
        for command, values in (
            ("6-4", {**settings.thresholds, "dig": 0.0}),
            ("7-4", settings.battery),
            ("3-4", {"cvb": settings.battery_target_v, "drb": settings.battery_droop_ratio}),
        ):
            self.request(command, values)  # what the settings say must fit, before a port opens
        wait_frame = self.request("1-4", {"mode": MODE_CODES[ConverterMode.WAIT]})
        self._transport = transport or SerialTransport(settings, wait_frame)
        self.line = Line(self._transport, settings)

    @property
    def counters(self) -> Mapping[str, int]:
        """What happened on the line."""
        return self.line.counters

    @property
    def dead_man(self) -> DeadMan | None:
        """See :class:`DcdcDevice`."""
        return self._transport.dead_man

    def open(self, deadline_s: float) -> None:
        """See :class:`DcdcDevice`; the first thing said is WAIT."""
        self._transport.open()
        try:
            self.set_mode(ConverterMode.WAIT, deadline_s)
        except DeviceTimeout as silence:
            raise DeviceTimeout(
                f"{silence}; is it switched on, is this the right port, and is "
                f"{self._settings.baud} its speed?"
            ) from silence
        if self._settings.check_scaling:
            self._check_scaling(deadline_s)
        settings = self._settings
        self._write("6-4", {**settings.thresholds, "dig": 0.0}, deadline_s)
        self._write("7-4", settings.battery, deadline_s)
        target = {"cvb": settings.battery_target_v, "drb": settings.battery_droop_ratio}
        self._write("3-4", target, deadline_s)

    def close(self) -> None:
        """See :class:`DcdcDevice`."""
        self._transport.close()

    def read_status(self, deadline_s: float) -> DcdcStatus:
        """See :class:`DcdcDevice`. Commands 1-1, 2-1 and 10-1, and 9-1 if there is an alarm."""
        mode = self._read("1-1", deadline_s)["mode"]
        bits = self._read("2-1", deadline_s)["cst"]
        meter = table()["10-1"].reply.values(self._read("10-1", deadline_s))
        alarm = _ALARMS.get(bits >> 2 & 3, Alarm.UNKNOWN)
        text = ""
        if alarm is not Alarm.NONE:
            words = self._read("9-1", deadline_s)
            text = " ".join(f"{name} {word:#06x}" for name, word in words.items())
        return DcdcStatus(
            mode=_MODES.get(mode, ConverterMode.UNKNOWN),
            mode_code=f"0x{mode:04x}",
            running=_RUNNING.get(bits & 3, Running.UNKNOWN),
            alarm=alarm,
            alarm_text=text,
            grid_voltage_v=max(meter["vg"], 0.0),
            grid_current_a=meter["ig"],
            grid_power_w=meter["wg"],
            battery_voltage_v=max(meter["vb"], 0.0),
            battery_current_a=meter["ib"],
            battery_power_w=meter["wb"],
            converter_temp_degc=meter["tmp"],
        )

    def read_setpoints(self, deadline_s: float) -> DcdcSetpoints:
        """See :class:`DcdcDevice`. Commands 4-1 and 6-1."""
        voltage = table()["4-1"].reply.values(self._read("4-1", deadline_s))
        current = table()["6-1"].reply.values(self._read("6-1", deadline_s))
        return DcdcSetpoints(
            grid_voltage_v=voltage["dvg"],
            droop_ratio=voltage["drg"],
            grid_current_a=current["dig"],
            thresholds={name: value for name, value in current.items() if name != "dig"},
        )

    def set_mode(self, mode: ConverterMode, deadline_s: float) -> None:
        """See :class:`DcdcDevice`. Command 1-4."""
        if mode not in MODE_CODES:
            raise OutOfRange(f"mode is {mode.name}, it must be one of the converter's four")
        self._write("1-4", {"mode": MODE_CODES[mode]}, deadline_s)

    def set_voltage(self, *, voltage_v: float, droop_ratio: float, deadline_s: float) -> None:
        """See :class:`DcdcDevice`. Command 4-4."""
        self._write("4-4", {"dvg": voltage_v, "drg": droop_ratio}, deadline_s)

    def set_current(self, current_a: float, deadline_s: float) -> None:
        """See :class:`DcdcDevice`. Command 6-4, which carries the thresholds too."""
        self._write("6-4", {**self._settings.thresholds, "dig": current_a}, deadline_s)

    def clear_alarms(self, deadline_s: float) -> None:
        """See :class:`DcdcDevice`. Command 9-4."""
        self._write("9-4", {"d0": 0, "d1": 0}, deadline_s)

    def request(self, command: str, values: Mapping[str, float]) -> bytes:
        """The frame of a command.

        Raises:
            OutOfRange: One of the values does not fit into its field.
        """
        numbers: dict[str, Exact] = {
            name: exact(value) if isinstance(value, float) else value
            for name, value in values.items()
        }
        return encode_request(command, numbers, self._at)

    def _reader(self, command: str) -> Callable[[], ReplyReader]:
        return lambda: ReplyReader(command, self._at)

    def _read(self, command: str, deadline_s: float) -> dict[str, int]:
        """Counts of a block; on a noisy line confirmed."""
        request, reader = encode_request(command, {}, self._at), self._reader(command)
        answers = [self.line.ask(request, reader, deadline_s)]
        while self.line.is_noisy and len(answers) < _TRIES:
            answers.append(self.line.ask(request, reader, deadline_s))
            if answers[-1] == answers[-2]:
                return answers[-1]
        return {name: median_low(a[name] for a in answers) for name in answers[0]}

    def _write(self, command: str, values: Mapping[str, float], deadline_s: float) -> None:
        """Write a block; its answer must hold what was sent."""
        request = self.request(command, values)
        block = table()[command].request
        wanted = block.unpack(request[5 : 5 + block.size])
        held: dict[str, int] = {}
        for _ in range(_WRITE_TRIES):
            held = self.line.ask(request, self._reader(command), deadline_s)
            if held == wanted:
                return
        exact_held, exact_wanted = block.exact_values(held), block.exact_values(wanted)
        wrong = [name for name in wanted if held[name] != wanted[name]]
        differences = ", ".join(f"{n} {exact_held[n]} and not {exact_wanted[n]}" for n in wrong)
        raise ReadBackMismatch(f"{self.address}: after {command} it holds {differences}")

    def _check_scaling(self, deadline_s: float) -> None:
        """See that the device counts as the table says. It need not know how to answer."""
        measured = {f"{f.name}": f.spec for f in table()["10-1"].reply.fields}
        try:
            exponents = self._read("12-1", deadline_s)
            ratings = self._read("14-1", deadline_s)
        except DeviceRefused:
            self.line.counters["scaling not told"] += 1
            return
        for name, spec in measured.items():
            told = exponents[f"{name}q"]
            if told != (spec.q or 0):
                raise ForeignDevice(
                    f"{self.address}: its {name} has the exponent {told}, an EZA2500 has {spec.q}"
                )
        for told_name, name in (
            ("vgn", "vg"),
            ("ign", "ig"),
            ("vbn", "vb"),
            ("ibn", "ib"),
            ("wn", "wg"),
        ):
            told_value = ratings[told_name] / 2 ** ratings[f"{told_name}q"]
            rated = float(measured[name].rating or 1)
            if abs(told_value - rated) > _RATING_TOLERANCE * rated:
                unit = measured[name].unit
                raise ForeignDevice(
                    f"{self.address}: it is rated {told_value:g} {unit}, "
                    f"an EZA2500 {rated:g} {unit}"
                )
