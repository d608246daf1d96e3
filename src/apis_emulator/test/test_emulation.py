"""The emulated world as a whole: faults in time, units that come and go, states, energies."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from apis_core.model.errors import ConfigError
from apis_core.model.messages import ConverterOperation, ConverterOrder, ConverterReply
from apis_core.model.types import ConverterError, ConverterMode, StopCause
from apis_emulator.accounts import BUS
from apis_emulator.emulation import ConvertersOn, Emulation
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
from apis_site.grid import Emulation as EmulationEntry

DAY_S = 86_400.0


class World:
    """An emulation, and the orders that tests give."""

    def __init__(self, emulation: Emulation) -> None:
        self.emulation = emulation
        self.now_s = 0.0

    def __getitem__(self, unit_id: str) -> Converter:
        return self.emulation.plant.units[unit_id].converter

    def mode(self, unit_id: str, mode: ConverterMode, **rest: Any) -> ConverterReply:
        rest = {"hold_s": 1e9, "term": 1} | rest
        order = ConverterOrder(operation=ConverterOperation.MODE, mode=mode, **rest)
        return self.emulation.driver.handle(unit_id, order, self.now_s)

    def run(self, seconds: float, step_s: float = 10.0) -> None:
        end_s = self.emulation.plant.time_s + seconds
        while (left_s := end_s - self.emulation.plant.time_s) > 1e-6:
            self.emulation.step(min(step_s, left_s))

    def exchange(self, current_a: float = 2.0) -> None:
        """E001 holds the bus, E002 gives, E003 takes."""
        reference = {"grid_voltage_v": 350.0, "grid_current_a": 5.0}
        for reply in (
            self.mode("E001", ConverterMode.VOLTAGE_REFERENCE, **reference),
            self.run(20.0),
            self.mode("E002", ConverterMode.DISCHARGE, grid_current_a=current_a),
            self.mode("E003", ConverterMode.CHARGE, grid_current_a=current_a),
        ):
            assert reply is None or reply.error is ConverterError.NONE, reply
        self.run(10.0)

    def wait(self) -> None:
        for unit_id in ("E003", "E002", "E001"):
            self.mode(unit_id, ConverterMode.WAIT)
            self.run(20.0)


@pytest.fixture
def make(tmp_path, hardware) -> Callable[..., World]:
    file = tmp_path / "hardware.json"
    file.write_text(json.dumps(hardware))

    def make(
        *lines: tuple[str, str, float], faults: tuple[InjectedFault, ...] = (), units: int = 3
    ) -> World:
        ids = [f"E{number:03}" for number in range(1, units + 1)]
        grid = GridDescription(
            policy="unused",
            units=[UnitEntry(id=i, hardware=str(file), scenario="unused") for i in ids],
            emulator=EmulationEntry(
                start=datetime(2025, 6, 21, 8), faults=faults, lines=lines_of(lines)
            ),
        )
        plant = Plant({i: put_up() for i in ids}, Bus())
        return World(Emulation(grid, plant))

    return make


def lines_of(given: Iterable[tuple[str, str, float]]) -> Lines | None:
    """Cables of these resistances: 2 * 1 m * half of it a metre."""
    cables = tuple(
        Cable(units=(a, b), length_m=1.0, conductor_ohm_per_m=ohm / 2.0) for a, b, ohm in given
    )
    return Lines(cables=cables) if cables else None


def put_up() -> Installation:
    return Installation(
        capacity_wh=4800.0,
        stored_wh=2400.0,
        converter=Converter(loss=ConverterLoss(), bus=Bus()),
        solar=500.0,
        load=300.0,
    )


def fault(kind: str, unit: str = "E002", **rest: Any) -> InjectedFault:
    return InjectedFault(kind=kind, unit=unit, **rest)


# --- faults --------------------------------------------------------------------------------------


def test_a_sensor_reads_too_high_for_a_while(make):
    wrong = fault("sensor_offset", quantity="grid_voltage_v", value=3.0, at_s=100.0, for_s=50.0)
    world = make(faults=(wrong,))
    world.exchange()

    def seen() -> tuple[float, float]:
        reading = world.emulation.driver.read("E002", 0.0)
        assert reading.grid_power_w == pytest.approx(
            reading.grid_voltage_v * reading.grid_current_a
        )
        return reading.grid_voltage_v, world.emulation.driver.read("E003", 0.0).grid_voltage_v

    assert seen() == pytest.approx((350.0, 350.0))
    world.run(100.0 - world.emulation.plant.time_s + 1.0)
    assert seen() == pytest.approx((353.0, 350.0))
    assert [str(f) for f in world.emulation.active_faults] == [
        "F1: sensor_offset E002 grid_voltage_v +3 until 150.0 s"
    ]
    world.run(50.0)
    assert seen() == pytest.approx((350.0, 350.0))


def test_faults_come_on_the_instant_however_long_the_steps(make):
    world = make(faults=(fault("battery_permit", at_s=130.7),))
    world.exchange()
    before_wh = world["E002"].discharged_wh
    begun_s = world.emulation.plant.time_s
    world.emulation.step(1000.0)
    moved_wh = world["E002"].discharged_wh - before_wh
    # at 2 A until 130.7 s, and 2 A more on the way down at 1 A/s
    assert moved_wh == pytest.approx(700.0 * (130.7 - begun_s + 1.0) / 3600.0, rel=1e-3)
    assert world["E002"].stop_cause is StopCause.TRIP
    assert world["E002"].stop_detail == "the battery permits no exchange"


def test_without_a_permit_nothing_starts(make):
    world = make()
    world.emulation.inject(fault("battery_permit"))
    reply = world.mode("E002", ConverterMode.VOLTAGE_REFERENCE, grid_voltage_v=350.0)
    assert (reply.error, reply.message) == (
        ConverterError.REFUSED,
        "the battery permits no exchange",
    )
    world.emulation.repair("F1")
    world.exchange()


def test_a_stuck_converter_obeys_nobody_but_its_dead_man(make):
    world = make()
    world.exchange()
    world.mode("E002", ConverterMode.DISCHARGE, grid_current_a=2.0, hold_s=30.0)
    world.emulation.inject(fault("stuck_converter"))
    assert world.mode("E002", ConverterMode.WAIT).error is ConverterError.NONE
    world.run(10.0)
    assert world["E002"].current_a == -2.0
    world.now_s = 31.0
    world.emulation.driver.watch(world.now_s)
    world.run(10.0)
    assert world["E002"].mode is ConverterMode.WAIT
    assert world["E002"].stop_cause is StopCause.HOLD_EXPIRED


def test_a_broken_line_splits_the_bus(make):
    world = make(("E001", "E002", 0.2), ("E002", "E003", 0.2))
    world.exchange()
    world.emulation.inject(fault("line_break", other_unit="E003"))
    world.run(30.0)
    # E003 is left alone with its load: its island collapses, and it trips.
    assert world["E003"].stop_cause is StopCause.TRIP
    assert "under-voltage" in world["E003"].stop_detail
    assert world.emulation.plant.units["E002"].bus_v == pytest.approx(350.0, abs=1.0)
    world.emulation.repair("")
    assert world.emulation.active_faults == []
    world.run(60.0)
    assert world.emulation.plant.units["E003"].bus_v == pytest.approx(350.0, abs=1.0)


def test_lines_lose_what_the_currents_say(make):
    world = make(("E001", "E002", 0.5), ("E001", "E003", 1.5))
    world.exchange(2.0)
    bus = world.emulation.plant.read_bus()
    assert bus.line_loss_w == pytest.approx(4.0 * 0.5 + 4.0 * 1.5, rel=1e-6)
    volts = [unit.bus_v for unit in world.emulation.plant.units.values()]
    assert volts == pytest.approx([350.0, 351.0, 347.0], abs=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (fault("stuck_converter", "E009"), "there is no unit E009; there are E001 E002 E003"),
        (
            fault("line_break", other_unit="E003"),
            "there is no line between E002 and E003",
        ),
    ],
)
def test_a_fault_that_cannot_be(make, wrong, message):
    world = make()
    with pytest.raises(ConfigError, match=message):
        world.emulation.inject(wrong)


@pytest.mark.parametrize(
    "entry",
    [
        {"kind": "sensor_offset"},
        {"kind": "sensor_offset", "quantity": "grid_voltage_v"},
        {"kind": "line_break"},
        {"kind": "stuck_converter", "value": 1.0},
        {"kind": "battery_permit", "for_s": 0.0},
        {"kind": "nonsense"},
    ],
)
def test_a_fault_that_makes_no_sense(entry):
    with pytest.raises(ValueError, match="1 validation error"):
        InjectedFault.model_validate({"unit": "E001", **entry})


# --- units ---------------------------------------------------------------------------------------


def entry(unit_id: str, tmp_path: Path, **rest: Any) -> str:
    house = {"pv_peak_w": 0.0, "load_wh_per_year": 0.0, "initial_soc_ratio": 0.5}
    sun = tmp_path / "sun.csv"
    sun.write_text("\n".join([",".join(["100"] * 24)] * 365))
    load = tmp_path / "load.csv"
    load.write_text("header\n" + "\n".join(["0,4,0,0,0,0" + ",0.2" * 48] * 366))
    house |= {"solar_csv": str(sun), "load_csv": str(load)}
    values = {"id": unit_id, "hardware": str(tmp_path / "hardware.json"), "scenario": "-"}
    return json.dumps({**values, "house": house, **rest})


def test_a_unit_comes_and_takes_part(make, tmp_path):
    world = make(("E001", "E002", 0.2), ("E002", "E003", 0.2))
    world.exchange(1.0)
    line = {"to": "E002", "length_m": 1.0, "conductor_ohm_per_m": 0.5}
    world.emulation.add_unit(entry("E004", tmp_path, line=line))
    world.run(30.0)
    reply = world.mode("E004", ConverterMode.CHARGE, grid_current_a=1.0)
    assert reply.error is ConverterError.NONE, reply.message
    world.run(30.0)
    assert world["E004"].current_a == 1.0
    units = world.emulation.plant.units
    assert units["E002"].bus_v - units["E004"].bus_v == pytest.approx(1.0, abs=1e-6)
    assert world["E001"].current_a == pytest.approx(-1.0)


def test_a_unit_goes_and_its_lines_go_on(make):
    world = make(("E001", "E002", 0.2), ("E002", "E003", 0.3), ("E003", "E004", 0.4), units=4)
    world.exchange()
    with pytest.raises(ConvertersOn, match="E002: the converter must be in WAIT"):
        world.emulation.remove_unit("E002")
    world.mode("E002", ConverterMode.WAIT)
    world.run(30.0)
    world.emulation.remove_unit("E002")
    world.run(30.0)
    units = world.emulation.plant.units
    assert list(units) == ["E001", "E003", "E004"]
    assert units["E001"].bus_v - units["E003"].bus_v == pytest.approx(2.0 * 0.5, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "unit: line 1"),
        ("[" * 5000, "unit: line 1: must not nest"),
        ("[]", "unit: must be one JSON object"),
        ('{"id": "E001", "hardware": "x", "scenario": "x"}', "unit: id is E001, is there already"),
        ('{"id": "E009", "hardware": "/nowhere.json", "scenario": "x"}', "/nowhere.json: no such"),
        ('{"id": "E009", "hardwear": "x", "scenario": "x"}', "did you mean hardware"),
        (
            '{"id": "E009", "hardware": "x", "scenario": "x", "line": {"to": "E001"}}',
            "the bus of this grid has no lines",
        ),
    ],
)
def test_a_unit_that_cannot_come(make, text, message):
    world = make()
    with pytest.raises(ConfigError) as caught:
        world.emulation.add_unit(text)
    assert message in str(caught.value)
    assert list(world.emulation.plant.units) == ["E001", "E002", "E003"]


# --- states --------------------------------------------------------------------------------------


def stored(world: World) -> list[float]:
    return [unit.battery.stored_wh for unit in world.emulation.plant.units.values()]


def test_a_state_is_saved_loaded_and_reset(make, tmp_path):
    file = tmp_path / "state.json"
    world = make()
    world.run(3600.0)
    world.emulation.save(file)
    then = stored(world)
    world.run(3600.0)
    after = stored(world)
    clock_s = world.emulation.clock_s
    world.emulation.load(file)
    assert stored(world) == then
    assert world.emulation.plant.time_s == pytest.approx(3600.0)
    assert world.emulation.clock_s == clock_s
    world.run(3600.0)
    assert stored(world) == pytest.approx(after, abs=1e-9)
    assert world.emulation.clock_s == pytest.approx(clock_s + 3600.0)
    world.emulation.reset()
    assert stored(world) == [2400.0] * 3
    assert world.emulation.plant.time_s == 0.0
    assert world.emulation.clock_s == pytest.approx(clock_s + 3600.0)


def test_not_while_converters_are_on(make, tmp_path):
    world = make()
    world.emulation.save(tmp_path / "state.json")
    world.exchange()
    before = stored(world)
    with pytest.raises(ConvertersOn, match="E001, E002, E003"):
        world.emulation.load(tmp_path / "state.json")
    with pytest.raises(ConvertersOn):
        world.emulation.reset()
    assert stored(world) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state["units"]["E001"].update(stored_wh=5000.0), "must not exceed"),
        (lambda state: state["units"]["E001"].pop("is_dark"), "units.E001.is_dark"),
        (lambda state: state["units"].pop("E001"), "unit E001 is not in it"),
        (
            lambda state: state["units"].update(E009=state["units"]["E001"]),
            "unit E009 is not put up here",
        ),
        (lambda state: state.update(format=2), "format is 2"),
        (lambda state: state.update(time_s=-1.0), "time_s is -1,"),
    ],
)
def test_a_state_that_does_not_fit(make, tmp_path, change, message):
    file = tmp_path / "state.json"
    world = make()
    world.emulation.save(file)
    state = json.loads(file.read_text())
    change(state)
    file.write_text(json.dumps(state))
    with pytest.raises(ConfigError) as caught:
        world.emulation.load(file)
    assert message in str(caught.value)
    assert stored(world) == [2400.0] * 3


# --- energies ------------------------------------------------------------------------------------


def balance(table: pd.DataFrame) -> pd.Series:
    """What goes in less what comes out, of each row of a unit. [Wh]"""
    sources = table.solar_wh + table.mains_wh + table.grid_received_wh
    sinks = table.load_wh + table.ac_loss_wh + table.dc_loss_wh + table.battery_loss_wh
    return sources - sinks - table.grid_sent_wh - table.stored_change_wh


def test_days_are_summed_up_at_local_midnight(make, tmp_path):
    world = make(("E001", "E002", 0.5), ("E001", "E003", 1.5))
    world.exchange()
    world.run(3600.0)
    world.wait()
    world.run(2.2 * DAY_S, step_s=600.0)
    table = world.emulation.accounts.table()

    days = table[table.day != "total"]
    assert list(days.day.unique()) == ["2025-06-21", "2025-06-22", "2025-06-23"]
    assert list(days.unit_id.unique()) == ["E001", "E002", "E003", BUS]
    units = days[days.unit_id != BUS]
    assert balance(units).abs().max() < 1e-6
    first = days[(days.day == "2025-06-21") & (days.unit_id == "E002")].iloc[0]
    assert first.load_wh == pytest.approx(300.0 * 16.0)  # from 8:00
    second = days[(days.day == "2025-06-22") & (days.unit_id == "E002")].iloc[0]
    assert second.load_wh == pytest.approx(300.0 * 24.0)

    total = table[(table.day == "total")].set_index("unit_id")
    sent, received = total.loc["total", "grid_sent_wh"], total.loc["total", "grid_received_wh"]
    lost = total.loc[BUS, "line_loss_wh"] + total.loc[BUS, "bled_wh"]
    assert lost > 7.0
    assert sent - received == pytest.approx(lost, abs=1e-6)

    for name in ("summary.csv", "summary.parquet"):
        world.emulation.accounts.write(tmp_path / name)
    read = pd.read_csv(tmp_path / "summary.csv")
    assert read.solar_wh.to_list() == pytest.approx(
        table.solar_wh.to_list(), abs=1e-4, nan_ok=True
    )
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "summary.parquet"), table, check_dtype=False
    )
    with pytest.raises(ConfigError, match=r"must end in \.csv or \.parquet"):
        world.emulation.accounts.write(tmp_path / "summary.xls")


def test_a_unit_that_was_there_for_a_while_has_its_row(make, tmp_path):
    world = make()
    world.run(3600.0)
    world.emulation.add_unit(entry("E004", tmp_path))
    world.run(3600.0)
    world.emulation.remove_unit("E004")
    world.run(3600.0)
    table = world.emulation.accounts.table()
    rows = table[(table.unit_id == "E004") & (table.day != "total")]
    assert len(rows) == 1
    assert rows.iloc[0].load_wh == pytest.approx(200.0)
    assert math.isclose(balance(rows).iloc[0], 0.0, abs_tol=1e-6)


def test_a_unit_that_is_there_is_not_spoken_of_as_a_cable(make):
    world = make(("E001", "E002", 0.1), ("E002", "E003", 0.1))
    with pytest.raises(ConfigError, match="unit: id is E001, is there already"):
        world.emulation.add_unit('{"id": "E001", "hardware": "x", "scenario": "x"}')
