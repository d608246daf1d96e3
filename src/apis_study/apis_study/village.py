"""The houses of a study, made from a grid description."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import numpy.typing as npt

import apis_control
from apis_core.config.hardware import Hardware, parse_hardware
from apis_core.config.policy import Policy, parse_policy
from apis_core.config.scenario import Scenario, parse_scenario
from apis_core.model.types import UnitId
from apis_emulator.houses import build_plant, local_start
from apis_emulator.wires import Wire, wires
from apis_site.files import read_text
from apis_site.grid import GridDescription, HouseModel
from apis_study.losses import COMPAT_HOUSE, CompatLoss, Loss, PartLoadLoss

__all__ = ["HouseInput", "Samples", "Village", "pooled"]

_UTC = timezone.utc
Samples = tuple[
    npt.NDArray[np.float32], float, float
]  # values [W], distance [s], the first at [s]


@dataclass(frozen=True, slots=True)
class HouseInput:
    """One house, with all that it begins with.

    Attributes:
        unit_id: Its unit.
        capacity_wh: What its battery holds when full. [Wh]
        stored_wh: What it holds at the start. [Wh]
        solar: Sun that is to be had.
        load: Load that is wanted.
        mains: Whether it is connected to the mains.
        mains_point_per_wh: What the mains costs. [point/Wh]
        hardware: What battery and converter can bear.
        scenario: When the unit asks and accepts.
    """

    unit_id: UnitId
    capacity_wh: float
    stored_wh: float
    solar: Samples
    load: Samples
    mains: bool
    mains_point_per_wh: float
    hardware: Hardware
    scenario: Scenario


@dataclass(frozen=True)
class Village:
    """The houses of a study, and the bus between them.

    Attributes:
        houses: In the order of the units.
        policy: What the units agree on.
        house_model: What the houses are made of.
        battery_cells: Tables of their batteries.
        loss: What a converter loses.
        lines: The wires of the bus; none = a bus without resistance.
        ramp_up_v_per_s: How fast the bus comes up. [V/s]
        ramp_down_v_per_s: How fast it goes down. [V/s]
        current_slew_a_per_s: How fast currents follow. [A/s]
        start: Local time at the start.
    """

    houses: tuple[HouseInput, ...]
    policy: Policy
    house_model: HouseModel
    battery_cells: dict[str, Any]
    loss: Loss
    lines: tuple[Wire, ...]
    ramp_up_v_per_s: float
    ramp_down_v_per_s: float
    current_slew_a_per_s: float
    start: datetime

    @staticmethod
    def of(grid: GridDescription) -> Village:
        """Make the village of a resolved grid description.

        Raises:
            ConfigError: A file that it names is wrong; lists every problem.
        """
        emulator, settings = grid.emulator, grid.study
        plant = build_plant(grid)
        is_compat = settings.physics == "compat"
        houses = []
        scenarios = {
            file: parse_scenario(read_text(file), file)
            for file in dict.fromkeys(u.scenario for u in grid.units)
        }
        hardware = {
            file: parse_hardware(read_text(file), file)
            for file in dict.fromkeys(u.hardware for u in grid.units)
        }
        for entry in grid.units:
            made = plant.units[entry.id].installation
            own_price = entry.house.mains_point_per_wh
            houses.append(
                HouseInput(
                    unit_id=entry.id,
                    capacity_wh=made.capacity_wh,
                    stored_wh=made.stored_wh,
                    solar=_samples(made.solar),
                    load=_samples(made.load),
                    mains=made.mains,
                    mains_point_per_wh=settings.mains_point_per_wh
                    if own_price is None
                    else own_price,
                    hardware=hardware[entry.hardware],
                    scenario=scenarios[entry.scenario],
                )
            )
        lines = emulator.lines
        return Village(
            houses=tuple(houses),
            policy=parse_policy(read_text(grid.policy), grid.policy),
            house_model=emulator.house_model.model_copy(update=COMPAT_HOUSE)
            if is_compat
            else emulator.house_model,
            battery_cells=emulator.battery_cells.model_dump(),
            loss=CompatLoss()
            if is_compat
            else PartLoadLoss(emulator.converter_loss, emulator.bus),
            lines=() if lines is None else tuple(wires(grid.units, lines)),
            ramp_up_v_per_s=emulator.bus.ramp_up_v_per_s,
            ramp_down_v_per_s=emulator.bus.ramp_down_v_per_s,
            current_slew_a_per_s=emulator.bus.current_slew_a_per_s,
            start=local_start(grid),
        )

    def tables(self) -> apis_control.HouseTables:
        """What all its houses are made of."""
        return apis_control.HouseTables(self.house_model.model_dump(), self.battery_cells)

    def runs(self, step_s: float) -> list[apis_control.HouseRun]:
        """Its houses at the start, with their converters in WAIT.

        Args:
            step_s: How long sun and load are taken for constant. [s]
        """
        tables = self.tables()
        return [self._run(tables, house, step_s) for house in self.houses]

    def seconds_of_day(self, time_s: float) -> float:
        """Local time after midnight at a time since the start. [s]"""
        now = (self.start.astimezone(_UTC) + timedelta(seconds=time_s)).astimezone(
            self.start.tzinfo
        )
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        wall = now.replace(tzinfo=None) - midnight.replace(tzinfo=None)
        return wall.total_seconds()

    def _run(
        self, tables: apis_control.HouseTables, house: HouseInput, step_s: float
    ) -> apis_control.HouseRun:
        run = apis_control.HouseRun(
            tables,
            capacity_wh=house.capacity_wh,
            stored_wh=house.stored_wh,
            solar=house.solar,
            load=house.load,
            has_mains=house.mains,
            step_s=step_s,
        )
        run.set_converter(0.0, self.loss.waiting_w, is_on=False)
        return run


def pooled(houses: Sequence[HouseInput]) -> HouseInput:
    """The mean of houses: one of so many that share everything without loss."""
    count = len(houses)
    first = houses[0]
    return HouseInput(
        unit_id="pool",
        capacity_wh=sum(h.capacity_wh for h in houses) / count,
        stored_wh=sum(h.stored_wh for h in houses) / count,
        solar=_mean([h.solar for h in houses]),
        load=_mean([h.load for h in houses]),
        mains=first.mains,
        mains_point_per_wh=sum(h.mains_point_per_wh for h in houses) / count,
        hardware=first.hardware,
        scenario=first.scenario,
    )


def _samples(profile: Any) -> Samples:
    if isinstance(profile, float):
        return np.array([profile], dtype=np.float32), 3600.0, 0.0
    samples: Samples = profile.samples
    return samples


def _mean(profiles: Sequence[Samples]) -> Samples:
    """Profiles of one year; the coarser ones are brought to the finest distance."""
    finest_s = min(step_s for _, step_s, _ in profiles)
    origin_s = next(origin_s for _, step_s, origin_s in profiles if step_s == finest_s)
    count = max(len(values) for values, step_s, _ in profiles if step_s == finest_s)
    at_s = origin_s + finest_s * np.arange(count)
    total = np.zeros(count)
    for values, step_s, from_s in profiles:
        position = (at_s - from_s) / step_s
        low = np.floor(position).astype(int)
        share = position - low
        total += (
            values[low % len(values)] * (1.0 - share) + values[(low + 1) % len(values)] * share
        )
    return (total / len(profiles)).astype(np.float32), finest_s, origin_s
