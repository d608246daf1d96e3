"""Builds the plant of a grid description: houses, converters, and their sun and load.

What a house leaves open is drawn from the emulator's seed and the unit's id, within

========================  ==========================================================
``pv_peak_w``             2,500 to 6,500 W
``pv_tilt_deg``           10 to 35°
``pv_azimuth_deg``        towards the equator, ±60°
``load_wh_per_year``      2.5 to 5.5 MWh
``initial_soc_ratio``     0.40 to 0.95, spread evenly over neighbouring units
``battery_capacity_wh``   not drawn: that of the unit's hwConfig file
========================  ==========================================================

so that adding a unit changes nothing in the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from apis_core.config.hardware import Hardware, parse_hardware
from apis_core.model.errors import ConfigError, Problem, ProtocolMisuse
from apis_emulator.faults import check_plan
from apis_emulator.physics.converter import Converter
from apis_emulator.physics.plant import Installation, Plant
from apis_emulator.profiles.cache import Samples, cached
from apis_emulator.profiles.csv_files import (
    customer_of,
    hourly_year,
    read_load_csv,
    read_solar_csv,
)
from apis_emulator.profiles.series import FloatArray, Series, Year, generator
from apis_emulator.wires import wires
from apis_site.files import read_text
from apis_site.grid import GridDescription, House, UnitEntry

if TYPE_CHECKING:
    from apis_emulator.profiles.load import Neighbourhood
    from apis_emulator.profiles.solar import Sky

__all__ = [
    "Modelled",
    "build_plant",
    "check_world",
    "drawn",
    "installation",
    "local_start",
    "start_of",
]

PV_PEAK_W = (2500.0, 6500.0)
PV_TILT_DEG = (10.0, 35.0)
PV_AZIMUTH_SPREAD_DEG = 60.0
LOAD_WH_PER_YEAR = (2.5e6, 5.5e6)
INITIAL_SOC_RATIO = (0.40, 0.95)
_GOLDEN_RATIO = 0.6180339887498949  # its multiples, modulo 1, fill an interval most evenly


def build_plant(grid: GridDescription, idle_step_s: float = 1.0) -> Plant:
    """All hardware of a resolved grid description.

    Args:
        grid: The description.
        idle_step_s: Sub-step while no converter is on. [s]

    Raises:
        ConfigError: Hardware or profile files are wrong; lists every problem of all of them.
    """
    emulator = grid.emulator
    units = _installations(grid)
    plant = Plant(
        units,
        emulator.bus,
        idle_step_s,
        house_model=emulator.house_model,
        battery_cells=emulator.battery_cells,
    )
    if emulator.lines is not None:
        plant.set_lines(wires(grid.units, emulator.lines))
    return plant


def check_world(grid: GridDescription) -> None:
    """Read what only the emulator reads of a resolved grid description, and make nothing of it.

    Raises:
        ConfigError: Profile files, lines or planned faults are wrong; lists every problem.
    """
    lines = grid.emulator.lines
    _collect(
        lambda: _solar_files(grid),
        lambda: _load_files(grid),
        lambda: check_plan(
            grid.emulator.faults,
            [unit.id for unit in grid.units],
            [] if lines is None else wires(grid.units, lines),
        ),
    )


def installation(grid: GridDescription, entry: UnitEntry, index: int) -> Installation:
    """The hardware of one more unit of a grid, the index-th of its units, from 0.

    Raises:
        ConfigError: Its hardware or profile files are wrong; lists every problem of all of them.
    """
    emulator = grid.emulator
    house = drawn(entry, index, emulator.seed, is_north=emulator.place.latitude_deg >= 0.0)
    alone = grid.model_copy(update={"units": (entry.model_copy(update={"house": house}),)})
    return _installations(alone)[entry.id]


def _installations(grid: GridDescription) -> dict[str, Installation]:
    emulator = grid.emulator
    year = Year(emulator.start, emulator.place)
    profiles, hardware = _collect(
        lambda: _profiles(grid, year), lambda: {u.id: _hardware(u.hardware) for u in grid.units}
    )
    units = {}
    for index, entry in enumerate(grid.units):
        house = drawn(entry, index, emulator.seed, is_north=emulator.place.latitude_deg >= 0.0)
        capacity_wh = house.battery_capacity_wh or hardware[entry.id].battery_capacity_wh
        solar, load = profiles[entry.id]
        rng = generator(emulator.seed, "voltmeter", entry.id)
        units[entry.id] = Installation(
            capacity_wh=capacity_wh,
            stored_wh=capacity_wh * (house.initial_soc_ratio or 0.0),
            converter=Converter(
                loss=emulator.converter_loss, bus=emulator.bus, ratings=emulator.converter
            ),
            solar=solar,
            load=load,
            mains=house.mains,
            voltage_offset_v=emulator.converter.voltmeter_sigma_v * rng.standard_normal(),
        )
    return units


def start_of(grid: GridDescription) -> int:
    """Start of the emulation, a local time at the place, on the clock of the world. [ns since
    1970]
    """
    return round(local_start(grid).timestamp()) * 1_000_000_000


def local_start(grid: GridDescription) -> datetime:
    """Start of the emulation, with the time zone of its place."""
    return Year(grid.emulator.start, grid.emulator.place).start


def drawn(entry: UnitEntry, index: int, seed: int, *, is_north: bool) -> House:
    """The house of a unit with everything that its description leaves open (but the battery)."""
    rng = generator(seed, "house", entry.id)
    equator_deg = 180.0 if is_north else 0.0
    phase = generator(seed, "soc").random()
    low, high = INITIAL_SOC_RATIO
    values: dict[str, float] = {
        "pv_peak_w": rng.uniform(*PV_PEAK_W),
        "pv_tilt_deg": rng.uniform(*PV_TILT_DEG),
        "pv_azimuth_deg": (equator_deg + PV_AZIMUTH_SPREAD_DEG * rng.uniform(-1.0, 1.0)) % 360.0,
        "load_wh_per_year": rng.uniform(*LOAD_WH_PER_YEAR),
        "initial_soc_ratio": low + (high - low) * ((phase + index * _GOLDEN_RATIO) % 1.0),
    }
    given = entry.house
    return given.model_copy(
        update={name: value for name, value in values.items() if getattr(given, name) is None}
    )


def _profiles(grid: GridDescription, year: Year) -> dict[str, tuple[Series, Series]]:
    solar_days, load_days = _collect(lambda: _solar_files(grid), lambda: _load_files(grid))
    modelled = Modelled(year, grid.emulator.seed)
    profiles: dict[str, tuple[Series, Series]] = {}
    for index, entry in enumerate(grid.units):
        house = drawn(entry, index, modelled.seed, is_north=year.place.latitude_deg >= 0.0)
        file, days = house.solar_csv, load_days.get(entry.id)
        solar_w = hourly_year(year, solar_days[file]) if file else modelled.solar(house, entry.id)
        load_w = modelled.load(house, entry.id) if days is None else hourly_year(year, days)
        profiles[entry.id] = (
            year.series(_scaled(solar_w, house.solar_scale)),
            year.series(_scaled(load_w, house.load_scale)),
        )
    return profiles


class Modelled:
    """Profiles of houses that have no files.

    pvlib and demandlib take seconds to import: only if a profile is needed that is not on disk.
    """

    def __init__(self, year: Year, seed: int) -> None:
        self.year = year
        self.seed = seed
        self._inputs = (year.start.isoformat(), year.place, seed)

    def solar(self, house: House, unit_id: str) -> Samples:
        """A year of sun on a roof. [W]"""
        values = (house.pv_peak_w, house.pv_tilt_deg, house.pv_azimuth_deg)

        def make() -> FloatArray:
            from apis_emulator.profiles.solar import Panel, solar_power_w

            return solar_power_w(self._sky, Panel(*map(_known, values)), unit_id)

        return cached("solar", make, *self._inputs, values, unit_id)

    def load(self, house: House, unit_id: str) -> Samples:
        """A year of what a house draws. [W]"""
        energy_wh = _known(house.load_wh_per_year)

        def make() -> FloatArray:
            from apis_emulator.profiles.load import load_power_w

            return load_power_w(self._neighbourhood, energy_wh, unit_id)

        return cached("load", make, *self._inputs, energy_wh, unit_id)

    @cached_property
    def _sky(self) -> Sky:
        from apis_emulator.profiles.solar import Sky

        return Sky(self.year, self.seed)

    @cached_property
    def _neighbourhood(self) -> Neighbourhood:
        from apis_emulator.profiles.load import Neighbourhood

        return Neighbourhood(self.year, self.seed)


def _scaled(values: FloatArray | Samples, scale: float) -> FloatArray | Samples:
    return values if scale == 1.0 else values * scale  # as it is, it may stay on disk


def _known(value: float | None) -> float:
    if value is None:
        raise ProtocolMisuse("a house must be drawn before it is modelled")
    return value


def _solar_files(grid: GridDescription) -> Mapping[str, FloatArray]:
    """Every solar file once."""
    files = sorted({u.house.solar_csv for u in grid.units if u.house.solar_csv})
    return dict(
        zip(files, _collect(*((lambda f=f: read_solar_csv(f)) for f in files)), strict=True)
    )


def _load_files(grid: GridDescription) -> Mapping[str, FloatArray]:
    """Load of the units that have a file; every file is read once."""
    customers: dict[str, dict[str, int]] = defaultdict(dict)
    problems = []
    for unit in grid.units:
        if unit.house.load_csv:
            named = unit.house.load_column
            customer = customer_of(unit.id) if named is None else named
            if customer is None:
                right = "load_column must name the customer, or the id must end in its number"
                problems.append(Problem(unit.house.load_csv, "", f"for unit {unit.id}", right))
            else:
                customers[unit.house.load_csv][unit.id] = customer
    if problems:
        raise ConfigError(problems)
    tables = _collect(
        *((lambda f=f, c=c: read_load_csv(f, c.values())) for f, c in customers.items())
    )
    return {
        unit_id: table[customer]
        for table, units in zip(tables, customers.values(), strict=True)
        for unit_id, customer in units.items()
    }


def _hardware(file: str) -> Hardware:
    return parse_hardware(read_text(file), file)


def _collect(*parts: Callable[[], object]) -> list[Any]:
    """Results of all parts, or the configuration problems of all parts."""
    results: list[Any] = []
    problems: list[Problem] = []
    for part in parts:
        try:
            results.append(part())
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(dict.fromkeys(problems))
    return results
