import json
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from apis_core.config.policy import parse_policy
from apis_core.model.errors import ConfigError
from apis_site.grid import GridDescription, Physics, parse_grid, parse_physics, with_unit_count

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "config"

LISTED = """
policy: p.json
units:
  - {id: E001, hardware: h.json, scenario: a.json, house: {initial_soc_ratio: 0.85}}
  - {id: SHOP_2, hardware: h.json, scenario: b.json, position_m: [5, -7.5]}
  - {id: E003, hardware: h.json, scenario: b.json}
"""
GENERATED = """
policy: p.json
units:
  count: 5
  template:
    hardware: h.json
    scenario: [a.json, b.json, c.json]
    house: [{mains: false}, {}]
"""


def grid_of(text: str) -> GridDescription:
    return parse_grid(yaml.safe_load(text), "g.yaml")


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        grid_of(text)
    return [str(problem).removeprefix("g.yaml: ") for problem in caught.value.problems]


def test_3_4_listed_units_and_defaults():
    grid = grid_of(LISTED)
    assert [unit.id for unit in grid.units] == ["E001", "SHOP_2", "E003"]
    assert [unit.position_m for unit in grid.units] == [(0, 0), (5, -7.5), (20, 0)]
    assert [unit.house.initial_soc_ratio for unit in grid.units] == [0.85, None, None]
    assert grid.cluster == "village"
    assert grid.composition == "auto"
    assert grid.emulator.start == datetime(2025, 6, 21, 8)
    assert (grid.web.host, grid.web.port) == ("127.0.0.1", 4382)


def test_generated_units():
    units = grid_of(GENERATED).units
    assert [unit.id for unit in units] == ["E001", "E002", "E003", "E004", "E005"]
    assert [unit.scenario for unit in units] == ["a.json", "b.json", "c.json", "a.json", "b.json"]
    assert {unit.hardware for unit in units} == {"h.json"}
    assert [unit.house.mains for unit in units] == [False, True, False, True, False]
    assert len({unit.position_m for unit in units}) == 5


def test_the_resolved_form_is_the_same_structure():
    for text in (LISTED, GENERATED):
        grid = grid_of(text)
        assert parse_grid(json.loads(grid.model_dump_json()), "grid.json") == grid
        assert GridDescription.model_validate_json(grid.model_dump_json()) == grid


def test_every_problem_at_once():
    text = """
polcy: p.json
cluster: Village
units:
  - {id: E001, hardware: h.json, scenario: 3, position_m: [1, 2, 3]}
  - {id: E001, hardware: h.json, scenario: s.json, house: {initial_soc_ratio: 85, mains: 1}}
  - 4
  - {id: e4}
composition: share
emulator:
  start: tomorrow
  speed: "30"
  bus: {under_voltage_trip_v: 500}
  place: {latitude: 3, latitude_deg: 100}
web: {port: 0}
"""
    assert sorted(problems_of(text)) == [
        'cluster is "Village", must be a name of a-z, 0-9 and single _, beginning with a letter',
        'composition is "share", must be one of separate, shared, auto',
        'emulator.bus is {"under_voltage_trip_v": 500}, '
        "under_voltage_trip_v must be less than over_voltage_trip_v",
        "emulator.place.latitude is 3, unknown key; did you mean latitude_deg?",
        "emulator.place.latitude_deg is 100, must be a number from -90 to 90",
        'emulator.speed is "30", must be a number greater than 0 and of at most 10000',
        'emulator.start is "tomorrow", must be a local date and time such as 2025-06-21 08:00:00',
        'polcy is "p.json", unknown key; did you mean policy?',
        "policy: required: the name of a file",
        "units is E001, is the id of 2 units; each needs its own",
        "units[0].position_m is [1, 2, 3], must be a list: a number, a number",
        "units[0].scenario is 3, must be the name of a file",
        "units[1].house.initial_soc_ratio is 85, must be a number from 0 to 1",
        "units[1].house.mains is 1, must be true or false",
        "units[2] is 4, must be an object { ... }",
        "units[3].hardware: required: the name of a file",
        'units[3].id is "e4", must be a unit id such as E001 (A-Z, 0-9, single _)',
        "units[3].scenario: required: the name of a file",
        "web.port is 0, must be a whole number from 1 to 65535",
    ]


def test_problems_of_the_short_form_do_not_hide_the_rest():
    text = """
policy: p.json
units: {count: 1000, template: {hardware: [], scenaro: s.json, house: [{mains: 3}]}}
web: {prt: 1}
"""
    assert sorted(problems_of(text)) == [
        "units.count is 1000, must be a whole number from 1 to 999",
        "units.template.hardware is [], must be the name of a file, or a list of such names",
        "units.template.house[0].mains is 3, must be true or false",
        "units.template.scenario: required: the name of a file, or a list of such names",
        'units.template.scenaro is "s.json", unknown key; did you mean scenario?',
        "web.prt is 1, unknown key; did you mean port?",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "must have keys at its top, such as policy and units"),
        ("[1, 2]", "must have keys at its top, such as policy and units"),
        ("{policy: p, units: []}", "units is [], must be a list of at least one"),
        ("{policy: p, units: 4}", "units is 4, must be a list of at least one"),
        ("{policy: p}", "units: required: a list of at least one"),
    ],
)
def test_files_without_a_grid(text, told):
    assert problems_of(text) == [told]


def test_a_start_with_a_time_zone_is_refused():
    (problem,) = problems_of(LISTED + "emulator: {start: 2025-06-21T08:00:00+09:00}")
    assert "must be a local date and time" in problem


def test_a_grid_can_be_cut():
    grid = grid_of(LISTED)
    assert with_unit_count(grid, 2).units == grid.units[:2]
    assert with_unit_count(grid, 3) == grid


def test_a_grid_can_be_grown():
    grid = with_unit_count(grid_of(LISTED), 6)
    assert [unit.id for unit in grid.units] == ["E001", "SHOP_2", "E003", "E002", "E004", "E005"]
    assert [unit.scenario for unit in grid.units[3:]] == ["a.json", "b.json", "b.json"]
    assert grid.units[3].house.initial_soc_ratio == 0.85
    assert len({unit.position_m for unit in grid.units}) == 6


@pytest.mark.parametrize("count", [0, -1, 1000])
def test_a_grid_has_a_sensible_number_of_units(count):
    with pytest.raises(ConfigError, match="must be from 1 to 999"):
        with_unit_count(grid_of(LISTED), count)


def test_the_physics_file_has_every_constant_with_its_default():
    content = yaml.safe_load((CONFIG / "physics.yaml").read_text())
    physics = parse_physics(content, "physics.yaml")
    assert physics == Physics()
    assert {name: set(part) for name, part in content.items()} == {
        name: set(dict(part)) for name, part in physics
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            {"bus": {"ramp_up": 3}},
            "physics.yaml: bus.ramp_up is 3, unknown key; did you mean ramp",
        ),
        ({"hause_model": {}}, "hause_model is {}, unknown key; did you mean house_model?"),
        ({"house_model": {"ac_charge_w": -1}}, "house_model.ac_charge_w is -1, must be a number"),
        ([1], "physics.yaml"),
        ({"converter": {"voltage_min_v": 400}}, "voltage_min_v must be less than voltage_max_v"),
        ({"battery_cells": {"soc_ratio": [0, 0.5, 0.4, 1]}}, "soc_ratio must ascend"),
        (
            {"battery_cells": {"open_circuit_v": [40, 50]}},
            "open_circuit_v must have as many values as soc_ratio",
        ),
        (
            {"battery_cells": {"charge_10degc_mohm": [1, 0, 1, 1, 1, 1, 1]}},
            "battery_cells.charge_10degc_mohm[1] is 0, must be a number greater than 0",
        ),
    ],
)
def test_a_wrong_constant_is_named(content, said):
    with pytest.raises(ConfigError) as caught:
        parse_physics(content, "physics.yaml")
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["sim_grid.yaml", "large_grid.yaml", "grid19.yaml"])
def test_our_own_grids_fit_their_files(name):
    grid = grid_of((CONFIG / name).read_text())
    policy = parse_policy((CONFIG / grid.policy).read_text(), grid.policy)
    assert tuple(unit.id for unit in grid.units) == policy.member_unit_ids
    for unit in grid.units:
        assert (CONFIG / unit.hardware).is_file()
        assert (CONFIG / unit.scenario).is_file()


def test_the_documentation_names_every_key():
    schema = GridDescription.model_json_schema()
    names = {
        name for part in (schema, *schema["$defs"].values()) for name in part.get("properties", {})
    }
    text = "".join((ROOT / "docs" / page).read_text() for page in ("configuration.md", "study.md"))
    assert not [name for name in sorted(names) if f"`{name}`" not in text]
