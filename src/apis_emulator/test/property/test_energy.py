"""Whatever is ordered, switched and broken on whatever tree: no energy is lost or made, and
Kirchhoff's laws hold.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apis_core.model.messages import ConverterOperation, ConverterOrder
from apis_core.model.types import ConverterMode
from apis_emulator.accounts import BUS
from apis_emulator.emulation import Emulation
from apis_emulator.physics.converter import Converter
from apis_emulator.physics.plant import Installation, Plant
from apis_site.grid import (
    Bus,
    Cable,
    ConverterLoss,
    GridDescription,
    InjectedFault,
    Lines,
    UnitEntry,
)

MODES = (
    ConverterMode.WAIT,
    ConverterMode.VOLTAGE_REFERENCE,
    ConverterMode.CHARGE,
    ConverterMode.DISCHARGE,
)


def ids(count: int) -> list[str]:
    return [f"E{number + 1:03}" for number in range(count)]


@st.composite
def trees(draw: st.DrawFn) -> list[Cable]:
    """Three to seven units: each hangs on one before it."""
    units = ids(draw(st.integers(3, 7)))
    ohms = st.floats(0.02, 2.0)
    return [
        Cable(
            units=(units[draw(st.integers(0, index - 1))], units[index]),
            length_m=1.0,
            conductor_ohm_per_m=draw(ohms) / 2.0,
        )
        for index in range(1, len(units))
    ]


def emulation_of(cables: list[Cable], soc_ratio: float = 0.5) -> Emulation:
    units = ids(len(cables) + 1)
    grid = GridDescription(
        policy="unused",
        units=[UnitEntry(id=i, hardware="unused", scenario="unused") for i in units],
        emulator={"start": datetime(2025, 6, 21, 23, 55), "lines": Lines(cables=tuple(cables))},
    )
    houses = {
        unit_id: Installation(
            capacity_wh=4800.0,
            stored_wh=4800.0 * soc_ratio,
            converter=Converter(loss=ConverterLoss(), bus=Bus()),
            solar=800.0 * (index % 2),
            load=300.0,
        )
        for index, unit_id in enumerate(units)
    }
    return Emulation(grid, Plant(houses, Bus()))


def order(emulation: Emulation, unit_id: str, mode: ConverterMode, current_a: float) -> None:
    """Obeyed or refused, as it comes."""
    values: dict[str, Any] = {"grid_voltage_v": 350.0} if mode is MODES[1] else {}
    emulation.driver.handle(
        unit_id,
        ConverterOrder(
            operation=ConverterOperation.MODE,
            mode=mode,
            grid_current_a=current_a,
            term=1,
            hold_s=1e9,
            droop_ratio=0.02 if mode is MODES[1] else 0.0,
            **values,
        ),
        0.0,
    )


STEPS = st.lists(
    st.tuples(
        st.integers(0, 6),
        st.sampled_from(MODES),
        st.floats(0.1, 7.0),
        st.floats(0.5, 120.0),
        st.booleans(),
    ),
    min_size=2,
    max_size=8,
)


@settings(max_examples=40, deadline=None)
@given(trees(), STEPS, st.sampled_from((0.02, 0.5, 0.99)))
def test_no_energy_is_lost_or_made(cables, steps, soc_ratio):
    emulation = emulation_of(cables, soc_ratio)
    plant = emulation.plant
    units = list(plant.units)
    order(emulation, units[0], ConverterMode.VOLTAGE_REFERENCE, 7.0)
    emulation.step(30.0)
    for number, mode, current_a, seconds, breaks in steps:
        unit_id = units[number % len(units)]
        order(emulation, unit_id, mode, current_a)
        if breaks:
            ends = cables[number % len(cables)].units
            fault = InjectedFault(kind="line_break", unit=ends[0], other_unit=ends[1], for_s=20.0)
            emulation.inject(fault)
        emulation.step(seconds)

    table = emulation.accounts.table()
    total = table[table.day == "total"].set_index("unit_id")
    for unit_id in units:
        row = total.loc[unit_id]
        sources = row.solar_wh + row.mains_wh + row.grid_received_wh
        sinks = row.load_wh + row.ac_loss_wh + row.dc_loss_wh + row.battery_loss_wh
        assert sources == pytest.approx(
            sinks + row.grid_sent_wh + row.stored_change_wh, abs=1e-6
        ), unit_id
        assert 0.0 <= plant.units[unit_id].battery.stored_wh <= 4800.0
    bus = total.loc[BUS]
    sent, received = total.loc["total"].grid_sent_wh, total.loc["total"].grid_received_wh
    held = plant.native.bus_stored_wh
    assert sent == pytest.approx(received + bus.line_loss_wh + bus.bled_wh + held, abs=1e-6)
    assert bus.line_loss_wh >= 0.0
    assert bus.bled_wh >= -1e-9


@settings(max_examples=40, deadline=None)
@given(trees(), st.data())
def test_kirchhoffs_laws_hold(cables, data):
    emulation = emulation_of(cables)
    plant = emulation.plant
    units = list(plant.units)
    order(emulation, units[0], ConverterMode.VOLTAGE_REFERENCE, 7.5)
    emulation.step(30.0)
    for unit_id in units[1:]:
        mode = data.draw(st.sampled_from(MODES[2:]))
        order(emulation, unit_id, mode, data.draw(st.floats(0.0, 1.2)))
    emulation.step(30.0)

    into = {unit_id: -unit.converter.current_a for unit_id, unit in plant.units.items()}
    for index, cable in enumerate(cables):
        current_a = plant.native.line_current_a(index)
        begin, end = (plant.units[i] for i in cable.units)
        assert begin.bus_v - end.bus_v == pytest.approx(
            2.0 * current_a * (cable.conductor_ohm_per_m or 0.0), abs=1e-9
        )
        into[cable.units[0]] -= current_a
        into[cable.units[1]] += current_a
    assert all(abs(rest_a) < 1e-9 for rest_a in into.values()), into


def test_the_day_in_between_was_closed():
    """So that the balance above is over more than one row."""
    emulation = emulation_of([Cable(units=("E001", "E002"), length_m=1.0)])
    emulation.step(600.0)
    assert list(emulation.accounts.table().day.unique()) == ["2025-06-21", "2025-06-22", "total"]
