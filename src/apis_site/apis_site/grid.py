"""The description of a whole grid: its units, where they stand, and how they are emulated.

People write it as YAML (``config/*.yaml``). :mod:`apis_bringup` reads that file and everything it
refers to, and hands each process the *resolved* form, the same structure with absolute paths, as
JSON. This module is the structure itself.

Size: the structure of one file, in its order; whoever writes a grid file reads it here as a whole.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NaiveDatetime,
    ValidationError,
    model_validator,
)

from apis_core.config.error_messages import problems_from_pydantic
from apis_core.config.validation import Flag, Number, UnitIdText, Whole
from apis_core.model.errors import ConfigError, Problem
from apis_site.study_settings import StudySettings

__all__ = [
    "MAX_UNITS",
    "BatteryCells",
    "Bus",
    "Cable",
    "Composition",
    "ConverterLoss",
    "ConverterRatings",
    "Device",
    "DeviceKind",
    "Emulation",
    "FaultKind",
    "GridDescription",
    "House",
    "HouseModel",
    "InjectedFault",
    "Lines",
    "Physics",
    "Place",
    "RealDevice",
    "RealHardware",
    "SensorQuantity",
    "UnitEntry",
    "Web",
    "parse_grid",
    "parse_physics",
    "street_position_m",
    "with_devices",
    "with_http_ports",
    "with_unit_count",
]

MAX_UNITS = 999  # generated ids have three digits
FIRST_HTTP_PORT = 8081

Ratio = Annotated[Number, Field(ge=0.0, le=1.0)]
NonNegative = Annotated[Number, Field(ge=0.0)]
Positive = Annotated[Number, Field(gt=0.0)]
LocalTime = Annotated[
    NaiveDatetime, Field(description="a local date and time such as 2025-06-21 08:00:00")
]
ClusterName = Annotated[
    str,
    Field(
        pattern=r"^[a-z](_?[a-z0-9])*_?$",  # ROS takes no two _ in a row
        max_length=32,
        description="a name of a-z, 0-9 and single _, beginning with a letter",
    ),
]
BatteryName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$",
        max_length=64,
        description="a name of letters, digits, _ and -",
    ),
]
FileName = Annotated[str, Field(min_length=1, description="the name of a file")]
Composition = Literal["separate", "shared", "auto"]
FaultKind = Literal[
    "sensor_offset", "stuck_converter", "lost_communication", "battery_permit", "line_break"
]
SensorQuantity = Literal[
    "grid_voltage_v", "grid_current_a", "battery_voltage_v", "converter_temp_degc"
]
DeviceKind = Literal["native", "serial", "http"]
Baud = Annotated[Whole, Field(ge=300, le=4_000_000)]


class _Part(BaseModel):
    """Frozen, and without keys that nobody reads: a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Place(_Part):
    """Where the houses stand; fixes the sun and the time of day."""

    latitude_deg: Annotated[Number, Field(ge=-90.0, le=90.0)] = 26.46
    longitude_deg: Annotated[Number, Field(ge=-180.0, le=180.0)] = 127.83
    altitude_m: Annotated[Number, Field(ge=-430.0, le=6000.0)] = 20.0
    timezone: str = "Asia/Tokyo"  # IANA name


class House(_Part):
    """What stands behind one converter.

    Values left out (None) are drawn from the emulator's seed, one set a house.
    """

    pv_peak_w: NonNegative | None = None  # [W] at standard test conditions
    pv_tilt_deg: Annotated[Number, Field(ge=0.0, le=90.0)] | None = None
    pv_azimuth_deg: Annotated[Number, Field(ge=0.0, le=360.0)] | None = None  # 180 = south
    load_wh_per_year: NonNegative | None = None
    solar_csv: FileName | None = None  # a file of the original's format instead of pvlib
    solar_scale: NonNegative = 1.0  # times what the file or the model says
    load_csv: FileName | None = None  # a file of the original's format instead of demandlib
    # the customer in load_csv; None = the number at the end of the unit's id
    load_column: Annotated[Whole, Field(ge=0)] | None = None
    load_scale: NonNegative = 1.0  # times what the file or the model says
    initial_soc_ratio: Ratio | None = None
    battery_capacity_wh: Positive | None = None  # None = hwConfig's value
    mains: Flag = True  # False = no connection to the mains: an empty battery means no supply
    mains_point_per_wh: NonNegative | None = None  # what the mains costs; None = the study's price


class Device(_Part):
    """How a unit reaches its emulated converter and battery.

    ``native``: the emulator itself answers on the graph. ``serial``: it speaks an EZA2500's and a
    Modbus battery's bytes on pseudo-terminals, and ``http`` the interface of the original drivers;
    then the unit has a driver of its own, as with real hardware.
    """

    kind: DeviceKind = "native"
    dcdc_baud: Baud = 19200
    battery_baud: Baud = 9600
    http_port: Annotated[Whole, Field(ge=1, le=65535)] | None = None  # None = the next free one
    # [s] of wall time without a word, after which the converter goes to WAIT by itself; null = it
    # has no such watchdog
    silence_limit_s: Positive | None = 3.0
    flips_per_bit: Ratio = 0.0  # share of bits that arrive wrong on the serial lines


class RealDevice(BaseModel):
    """A device of a unit that stands on a real site: its kind, and what that kind asks for."""

    model_config = ConfigDict(frozen=True, extra="allow")
    kind: Annotated[str, Field(min_length=1, description="the kind of a device such as eza2500")]


class RealHardware(_Part):
    """What a unit's driver drives instead of anything emulated (``docs/drivers.md``).

    The settings of a device are checked by the driver that knows it.
    """

    converter: RealDevice
    battery: RealDevice | None = None  # None = somebody else publishes the battery's state
    rules: dict[str, Any] = {}
    http: dict[str, Any] = {}


class UnitEntry(_Part):
    """One unit of the grid."""

    id: UnitIdText
    hardware: FileName  # hwConfig
    scenario: FileName
    position_m: tuple[Number, Number] = (0.0, 0.0)  # east, north of the grid's origin
    house: House = House()
    device: Device = Device()
    driver: RealHardware | None = None
    battery: BatteryName | None = None  # one that it shares with units of other clusters


class ConverterRatings(_Part):
    """What the converters are built for.

    Ratings, voltages and droop: the EZA2500 of TDK-Lambda, the converter of the original system
    (SonyCSL/apis-hw-info, section 6). The rest are engineering estimates.
    """

    rated_current_a: Positive = 7.8125  # at the bus: 2500 W at 320 V
    rated_power_w: Positive = 2500.0
    voltage_min_v: Positive = 260.0  # what a voltage reference can be told to hold
    voltage_max_v: Positive = 390.0
    max_droop_ratio: Ratio = 0.1
    saturation_trip_s: Positive = 0.5  # a reference that is so long at its limit gives up
    dead_bus_v: Positive = 1.0  # an orderly stop of a reference ends here
    voltmeter_sigma_v: NonNegative = 0.2  # spread of the voltmeters' errors, drawn once a unit

    @model_validator(mode="after")
    def _voltages_are_ordered(self) -> ConverterRatings:
        if self.voltage_min_v >= self.voltage_max_v:
            raise ValueError("voltage_min_v must be less than voltage_max_v")
        return self


class ConverterLoss(_Part):
    """Loss of a converter over power.

    While on ``constant_w + linear*|P| + quadratic_per_w*P^2``, the usual part-load law (Notton et
    al., Renewable Energy 35(2), 2010), while off ``waiting_w`` (Sony's emulator). Defaults: an
    engineering estimate for this class, 91 % at 350 W, 96 % at 1250 W.
    """

    waiting_w: NonNegative = 4.5
    constant_w: NonNegative = 30.0
    linear: Ratio = 0.010
    quadratic_per_w: NonNegative = 8.0e-6


class Bus(_Part):
    """The DC bus between the houses, and how converters follow. Engineering estimates; the ramps
    are within what the original's policy waits for (180 s).
    """

    ramp_up_v_per_s: Positive = 30.0
    ramp_down_v_per_s: Positive = 60.0
    current_slew_a_per_s: Positive = 1.0
    decay_time_constant_s: Positive = 20.0  # of a bus that nothing holds
    capacitance_per_unit_f: Positive = 1.0e-3
    under_voltage_trip_v: NonNegative = 260.0
    over_voltage_trip_v: Positive = 400.0

    @model_validator(mode="after")
    def _trips_are_ordered(self) -> Bus:
        if self.under_voltage_trip_v >= self.over_voltage_trip_v:
            raise ValueError("under_voltage_trip_v must be less than over_voltage_trip_v")
        return self


class Cable(_Part):
    """A piece of the bus between two units."""

    units: tuple[UnitIdText, UnitIdText]
    length_m: Positive | None = None  # None = the distance between them
    conductor_ohm_per_m: Positive | None = None  # None = that of all lines


class Lines(_Part):
    """The wires of the bus.

    Without `cables` they are the shortest tree that joins all units. Resistance of copper, class
    2, at 20 °C, after IEC 60228: 4 mm² 4.61, 6 mm² 3.08, 10 mm² 1.83, 16 mm² 1.15 mΩ/m; 0.393 %
    more per kelvin.
    """

    conductor_ohm_per_m: Positive = 3.08e-3  # one conductor; a line has two
    temp_degc: Annotated[Number, Field(ge=-40.0, le=120.0)] = 20.0
    resistance_per_k: NonNegative = 0.00393  # rise per kelvin above 20 °C
    cables: tuple[Cable, ...] | None = None


class HouseModel(_Part):
    """Battery, UPS and mains of every house.

    UPS and mains: the constants of Sony CSL's ``apis-emulator`` (commit 25f11d1), which look like
    fits to a real UPS. Battery: product specification of the US26650FTC1 and M. Naumann, PhD
    thesis, TU Munich 2018, as in SimSES (TU Munich, cell model ``SonyLFP``), for a pack of 16s32p
    (96 Ah, 51.2 V). What is an estimate is said in ``config/physics.yaml``, value by value.
    """

    system_loss_w: NonNegative = 17.5
    inverter_loss_w: NonNegative = 129.0
    inverter_loss_ratio: Ratio = 0.140
    transformer_loss_w: NonNegative = 57.0
    bypass_loss_w: NonNegative = 67.0
    bypass_loss_ratio: Ratio = 0.060
    ac_charge_w: NonNegative = 150.0
    ac_charge_loss_w: NonNegative = 10.0
    bypass_on_ratio: Ratio = 0.30
    bypass_off_ratio: Ratio = 0.35
    ac_charge_on_ratio: Ratio = 0.20
    ac_charge_off_ratio: Ratio = 0.25
    dark_on_ratio: Ratio = 0.02
    dark_off_ratio: Ratio = 0.05
    reference_capacity_wh: Positive = 4915.2  # of the pack that the resistances belong to
    resistance_ratio: NonNegative = 1.0  # times the cell data; 0 = an ideal battery
    extra_resistance_ohm: NonNegative = 0.0075
    hysteresis_v: NonNegative = 0.18
    coulombic_efficiency: Annotated[Number, Field(gt=0.0, le=1.0)] = 1.0
    self_discharge_per_s: NonNegative = 7.6e-9
    charge_limit_v: Positive = 57.6
    discharge_limit_v: NonNegative = 40.0
    empty_margin_v: NonNegative = 2.0  # above it no drawing is permitted already
    charge_c_rate: Positive = 1.0
    discharge_c_rate: Positive = 6.6
    charge_least_degc: Number = 0.0
    pack_heat_j_per_k: Positive = 35.9e3
    pack_cooling_w_per_k: Positive = 3.0
    ambient_degc: Annotated[Number, Field(ge=-40.0, le=60.0)] = 25.0
    converter_heat_j_per_k: Positive = 2.0e3
    converter_k_per_w: NonNegative = 0.15


_Row = Annotated[tuple[Positive, ...], Field(min_length=2)]
_SocRow = Annotated[tuple[Ratio, ...], Field(min_length=2)]


class BatteryCells(_Part):
    """Open-circuit voltage and resistance of the pack over the state of charge, joined by lines.

    Data of the cell model ``SonyLFP`` of SimSES (TU Munich, BSD-3-Clause), for 16s32p.
    """

    soc_ratio: _SocRow = (
        *(0.0, 0.02, 0.05, 0.10, 0.15, 0.20, 0.25, 0.30, 0.35, 0.40),
        *(0.50, 0.60, 0.70, 0.75, 0.80, 0.90, 0.95, 0.98, 1.0),
    )
    open_circuit_v: _Row = (
        *(36.58, 46.32, 49.04, 51.15, 51.39, 51.75, 52.07, 52.32, 52.52, 52.67),
        *(52.79, 52.86, 52.97, 53.10, 53.35, 53.48, 53.52, 53.58, 56.49),
    )
    resistance_soc_ratio: _SocRow = (0.10, 0.20, 0.35, 0.50, 0.65, 0.80, 0.95)
    charge_10degc_mohm: _Row = (26.8, 29.6, 29.4, 31.3, 34.6, 34.6, 40.3)
    charge_25degc_mohm: _Row = (18.8, 20.7, 20.8, 22.4, 24.4, 23.4, 26.7)
    charge_40degc_mohm: _Row = (15.2, 16.5, 16.4, 17.6, 19.2, 17.8, 20.0)
    discharge_10degc_mohm: _Row = (97.5, 40.4, 37.5, 34.7, 31.7, 32.4, 30.7)
    discharge_25degc_mohm: _Row = (30.8, 25.2, 25.2, 23.9, 21.5, 23.3, 21.3)
    discharge_40degc_mohm: _Row = (22.0, 19.2, 19.4, 19.2, 17.0, 18.9, 17.0)

    @model_validator(mode="after")
    def _are_tables(self) -> BatteryCells:
        for name in ("soc_ratio", "resistance_soc_ratio"):
            row = getattr(self, name)
            if any(b <= a for a, b in pairwise(row)):
                raise ValueError(f"{name} must ascend")
        if (self.soc_ratio[0], self.soc_ratio[-1]) != (0.0, 1.0):
            raise ValueError("soc_ratio must begin with 0 and end with 1")
        for name, row in self:
            over = "soc_ratio" if name == "open_circuit_v" else "resistance_soc_ratio"
            if name != "soc_ratio" and len(row) != len(getattr(self, over)):
                raise ValueError(f"{name} must have as many values as {over}")
        return self


class Physics(_Part):
    """The constants of the emulated world: what ``config/physics.yaml`` holds."""

    bus: Bus = Bus()
    converter: ConverterRatings = ConverterRatings()
    converter_loss: ConverterLoss = ConverterLoss()
    house_model: HouseModel = HouseModel()
    battery_cells: BatteryCells = BatteryCells()


class InjectedFault(_Part):
    """Something that breaks while the emulation runs; see docs/emulator.md."""

    kind: FaultKind
    unit: UnitIdText
    other_unit: UnitIdText | None = None  # of a line_break: the other end
    quantity: SensorQuantity | None = None  # of a sensor_offset
    value: Number | None = None  # of a sensor_offset, in the unit of the quantity; + = too high
    at_s: NonNegative = 0.0  # simulated time since the start
    for_s: Positive | None = None  # None = until somebody repairs it

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> InjectedFault:
        wanted = {
            "sensor_offset": {"quantity", "value"},
            "line_break": {"other_unit"},
        }.get(self.kind, set())
        for name in ("quantity", "value", "other_unit"):
            if (getattr(self, name) is not None) != (name in wanted):
                need = "needs" if name in wanted else "has no"
                raise ValueError(f"{self.kind} {need} {name}")
        return self


class Emulation(Physics):
    """The emulated world.

    Values of the physics that stand here go before those of the file ``physics``.
    """

    start: LocalTime = datetime(2025, 6, 21, 8, 0, 0)  # at the place
    speed: Annotated[Number, Field(gt=0.0, le=10_000.0)] = 20.0  # simulated per wall second
    seed: Annotated[Whole, Field(ge=0)] = 1
    place: Place = Place()
    physics: FileName | None = None  # YAML; None = the values that config/physics.yaml has, too
    lines: Lines | None = None  # None = a bus without resistance
    faults: tuple[InjectedFault, ...] = ()


def _without_brackets(host: object) -> object:
    """``[::1]``, as an address of IPv6 stands in a URL."""
    is_bracketed = isinstance(host, str) and host.startswith("[") and host.endswith("]")
    return host[1:-1] if is_bracketed else host  # type: ignore[index]


HostName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_]([A-Za-z0-9_:%-]|\.[A-Za-z0-9_])*$|^::[A-Fa-f0-9.:]*$",
        max_length=253,
        description="an address such as 127.0.0.1 or ::1, or the name of a host",
    ),
    BeforeValidator(_without_brackets),
]
_LOOPBACK = re.compile(r"localhost|::1|127(\.\d{1,3}){3}")


class Web(_Part):
    """The dashboard's address."""

    host: HostName = "127.0.0.1"
    port: Annotated[Whole, Field(ge=1, le=65535)] = 4382
    access_file: FileName | None = None  # who may log in; None = nobody needs to

    @model_validator(mode="after")
    def _is_closed(self) -> Web:
        if not _LOOPBACK.fullmatch(self.host) and self.access_file is None:
            raise ValueError(
                f"access_file is required, because host {self.host} is open to the network"
            )
        return self


class GridDescription(_Part):
    """A grid, complete."""

    cluster: ClusterName = "village"
    policy: FileName
    units: Annotated[tuple[UnitEntry, ...], Field(min_length=1)]
    keys: FileName | None = None  # key folder; None = an open grid, where every word counts
    composition: Composition = "auto"  # unit nodes: a process each, one for all, or by number
    emulator: Emulation = Emulation()
    web: Web = Web()
    study: StudySettings = StudySettings()  # read by `apisctl study` alone


def _listed(value: object) -> object:
    return value if isinstance(value, (list, tuple)) else (value,)


InTurn = BeforeValidator(_listed)
FileNames = Annotated[
    tuple[FileName, ...],
    InTurn,
    Field(min_length=1, description="the name of a file, or a list of such names"),
]


class _Template(_Part):
    """What generated units are like; a list is gone through again and again."""

    hardware: FileNames
    scenario: FileNames
    house: Annotated[tuple[House, ...], InTurn, Field(min_length=1)] = (House(),)
    device: Annotated[tuple[Device, ...], InTurn, Field(min_length=1)] = (Device(),)


class _Generated(_Part):
    """The short form of ``units``."""

    count: Annotated[Whole, Field(ge=1, le=MAX_UNITS)]
    template: _Template

    def entries(self) -> list[UnitEntry]:
        kinds = self.template
        return [
            UnitEntry(
                id=f"E{index + 1:03}",
                hardware=kinds.hardware[index % len(kinds.hardware)],
                scenario=kinds.scenario[index % len(kinds.scenario)],
                position_m=street_position_m(index),
                house=kinds.house[index % len(kinds.house)],
                device=kinds.device[index % len(kinds.device)],
            )
            for index in range(self.count)
        ]


_PLACEHOLDER = {"id": "E001", "hardware": "-", "scenario": "-"}


def parse_grid(data: object, source: str) -> GridDescription:
    """Make a grid description of what a YAML or JSON parser has read.

    Args:
        data: The content. Instead of a list, ``units`` may be ``{count: 4, template: {hardware:
            ..., scenario: ..., house: ..., device: ...}}``, where each of the four is one value or
            a list to go through again and again.
        source: The file's name, as the user gave it; stands in every problem.

    Raises:
        ConfigError: Lists everything that is wrong.
    """
    if not isinstance(data, Mapping):
        right = "must have keys at its top, such as policy and units"
        raise ConfigError([Problem(source, "", "", right)])
    content: dict[Any, Any] = dict(data)
    problems: list[Problem] = []
    units = content.get("units")
    if isinstance(units, Mapping):
        try:
            content["units"] = _Generated.model_validate(units).entries()
        except ValidationError as error:
            schema = _Generated.model_json_schema()
            problems += problems_from_pydantic(error, source, schema, prefix=("units",))
            content["units"] = [_PLACEHOLDER]  # so that the rest of the file is looked at
    elif isinstance(units, list):
        content["units"] = _placed(units)
        problems += _doubles(units, source)
    try:
        grid = GridDescription.model_validate(content)
    except ValidationError as error:
        problems += problems_from_pydantic(error, source, GridDescription.model_json_schema())
    if problems:
        raise ConfigError(problems)
    return grid


def parse_physics(data: object, source: str) -> Physics:
    """The constants of the emulated world out of what a YAML parser has read.

    Args:
        data: The content; what it leaves out has its default.
        source: The file's name, as the user gave it; stands in every problem.

    Raises:
        ConfigError: Lists everything that is wrong.
    """
    try:
        return Physics.model_validate({} if data is None else data)
    except ValidationError as error:
        raise ConfigError(
            problems_from_pydantic(error, source, Physics.model_json_schema())
        ) from None


def with_unit_count(grid: GridDescription, count: int) -> GridDescription:
    """The same grid with the first `count` of its units, or with more of the same kinds.

    Units that are added repeat the given ones in turn, under the next free ids, along the street.

    Args:
        grid: As read.
        count: 1..999.
    """
    if not 1 <= count <= MAX_UNITS:
        raise ConfigError([Problem("units", "", str(count), f"must be from 1 to {MAX_UNITS}")])
    taken = {unit.id for unit in grid.units}
    free = (new for n in range(1, 2 * MAX_UNITS) if (new := f"E{n:03}") not in taken)
    added = (
        grid.units[index % len(grid.units)].model_copy(
            update={"id": next(free), "position_m": street_position_m(index)}
        )
        for index in range(len(grid.units), count)
    )
    return grid.model_copy(update={"units": (*grid.units[:count], *added)})


def with_devices(grid: GridDescription, kind: DeviceKind) -> GridDescription:
    """The same grid with that kind of device for every unit."""
    units = (
        unit.model_copy(update={"device": unit.device.model_copy(update={"kind": kind})})
        for unit in grid.units
    )
    return grid.model_copy(update={"units": tuple(units)})


def with_http_ports(grid: GridDescription) -> GridDescription:
    """The same grid with a port of its own for every HTTP device."""
    taken = {unit.device.http_port for unit in grid.units}
    free = (port for port in range(FIRST_HTTP_PORT, 65536) if port not in taken)

    def ported(unit: UnitEntry) -> UnitEntry:
        device = unit.device
        if device.kind != "http" or device.http_port is not None:
            return unit
        update = {"device": device.model_copy(update={"http_port": next(free)})}
        return unit.model_copy(update=update)

    return grid.model_copy(update={"units": tuple(ported(unit) for unit in grid.units)})


def street_position_m(index: int) -> tuple[float, float]:
    """Where a house stands on a street with a row of houses on either side: east, north. [m]"""
    return 20.0 * (index // 2), 24.0 * (index % 2)


def _placed(units: Sequence[object]) -> list[object]:
    """The units, those without a position set along the street."""
    return [
        {"position_m": street_position_m(index), **unit} if isinstance(unit, Mapping) else unit
        for index, unit in enumerate(units)
    ]


def _doubles(units: Iterable[object], source: str) -> list[Problem]:
    ids = [str(unit["id"]) for unit in units if isinstance(unit, Mapping) and "id" in unit]
    return [
        Problem(source, "units", unit_id, f"is the id of {times} units; each needs its own")
        for unit_id, times in Counter(ids).items()
        if times > 1
    ]
