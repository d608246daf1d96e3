"""The wires of the bus: the shortest tree, cables that are named, and what they cost."""

from __future__ import annotations

import pytest

import apis_control
from apis_core.model.errors import ConfigError
from apis_emulator.wires import wires
from apis_site.grid import Cable, HouseModel, Lines, UnitEntry


def units(*places: tuple[float, float]) -> list[UnitEntry]:
    return [
        UnitEntry(id=f"E{n + 1:03}", hardware="-", scenario="-", position_m=place)
        for n, place in enumerate(places)
    ]


def test_a_street_is_a_chain_of_its_neighbours():
    made = wires(units((0, 0), (20, 0), (60, 0), (40, 0)), Lines())
    assert [(a, b) for a, b, _ in made] == [("E001", "E002"), ("E002", "E004"), ("E004", "E003")]
    assert [ohm for *_, ohm in made] == pytest.approx([2 * 20 * 3.08e-3] * 3)


def test_cables_may_be_named_and_warm():
    cables = (
        Cable(units=("E001", "E002"), length_m=100.0),
        Cable(units=("E002", "E001"), conductor_ohm_per_m=1e-3),
    )
    made = wires(units((0, 0), (30, 40)), Lines(cables=cables, temp_degc=45.0))
    assert [ohm for *_, ohm in made] == pytest.approx(
        [200 * 3.08e-3 * 1.09825, 100 * 1e-3 * 1.09825]
    )


def test_units_on_the_same_spot_are_joined_all_the_same():
    assert wires(units((0, 0), (0, 0)), Lines())[0][2] == pytest.approx(2 * 3.08e-3)


@pytest.mark.parametrize("ends", [("E001", "E009"), ("E001", "E001")])
def test_cable_to_nowhere_is_refused(ends):
    with pytest.raises(ConfigError, match="two units of this grid"):
        wires(units((0, 0), (20, 0)), Lines(cables=(Cable(units=ends),)))


def test_defaults_are_those_of_the_plant():
    """The houses of a description that says nothing are those of a plant that is told nothing."""
    told, untold = (apis_control.Plant(house=h) for h in (HouseModel().model_dump(), {}))
    for plant in (told, untold):
        plant.add(
            apis_control.Converter(), capacity_wh=4800.0, stored_wh=900.0, solar=900.0, load=800.0
        )
        plant.step(20_000.0)
    for name in ("stored_wh", "mains_wh", "ac_loss_wh", "battery_loss_wh", "pack_degc"):
        assert told.column(name)[0] == untold.column(name)[0], name
