"""Reading a grid file with everything that it names, and the run folder made of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from apis_bringup.grid_file import resolve, write_run_folder
from apis_bringup.overrides import Overrides
from apis_bringup.run_folder import RunFolder
from apis_core.config.hardware import parse_hardware
from apis_core.config.policy import parse_policy
from apis_core.model.errors import ConfigError
from apis_site.grid import parse_grid


def problems(path: Path, overrides: Overrides = Overrides()) -> list[str]:  # noqa: B008
    with pytest.raises(ConfigError) as caught:
        resolve(path, overrides)
    return [str(problem) for problem in caught.value.problems]


def test_paths_become_absolute_and_the_battery_is_the_hardware_files(grid_path):
    path = grid_path()
    hardware = parse_hardware((path.parent / "hardware.json").read_text(), "hardware.json")

    unit = resolve(path).description.units[0]

    assert unit.hardware == str(path.parent / "hardware.json")
    assert unit.scenario == str(path.parent / "scenario.json")
    assert unit.house.battery_capacity_wh == hardware.battery_capacity_wh


def test_a_battery_of_the_grid_file_stands(grid_path):
    files = {"hardware": "hardware.json", "scenario": "scenario.json"}
    path = grid_path(units=[{"id": "E001", "house": {"battery_capacity_wh": 99.0}, **files}])

    assert resolve(path).description.units[0].house.battery_capacity_wh == 99.0


def test_the_command_line_overrides_the_file(grid_path):
    overrides = Overrides(
        units=1, speed=60.0, seed=7, port=4999, composition="shared", device="serial"
    )

    grid = resolve(grid_path(), overrides).description

    assert [unit.id for unit in grid.units] == ["E001"]
    assert (grid.emulator.speed, grid.emulator.seed) == (60.0, 7)
    assert (grid.web.port, grid.composition) == (4999, "shared")
    assert grid.units[0].device.kind == "serial"


def test_a_grid_has_the_constants_of_its_physics_file_and_its_own_before_them(grid_path):
    own = {"bus": {"ramp_up_v_per_s": 3.0}}
    path = grid_path(emulator={"physics": "my_physics.yaml", **own})
    physics = path.parent / "my_physics.yaml"
    content = {
        "bus": {"ramp_up_v_per_s": 9, "ramp_down_v_per_s": 8},
        "house_model": {"ac_charge_w": 99},
    }
    physics.write_text(yaml.safe_dump(content))

    emulator = resolve(path).description.emulator

    assert (emulator.bus.ramp_up_v_per_s, emulator.bus.ramp_down_v_per_s) == (3.0, 8.0)
    assert emulator.house_model.ac_charge_w == 99.0
    assert emulator.physics == str(physics)
    physics.write_text("house_model: {ac_charge_w: lots}")
    assert any(
        problem.startswith('my_physics.yaml: house_model.ac_charge_w is "lots", must be a number')
        for problem in problems(path)
    )
    physics.unlink()
    assert any("emulator.physics is my_physics.yaml, no such file" in p for p in problems(path))


def test_a_dashboard_on_the_network_needs_to_know_who_may_log_in(grid_path):
    path = grid_path(web={"host": "0.0.0.0"})
    said = "access_file is required, because host 0.0.0.0 is open to the network"
    assert any(said in problem for problem in problems(path))

    path = grid_path(web={"host": "0.0.0.0", "access_file": "users.yaml"})
    assert any("web.access_file is users.yaml, no such file" in p for p in problems(path))
    users = path.parent / "users.yaml"
    users.write_text("users: []")
    assert any("users.yaml: users: " in problem for problem in problems(path))
    token = f"sha256:{'0' * 64}"
    users.write_text(f'users: [{{name: hall, role: viewer, token: "{token}"}}]')
    assert resolve(path).description.web.access_file == str(path.parent / "users.yaml")


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"units": "x", "speed": "fast"}, "units is x, must be a whole number"),
        ({"units": "x", "speed": "fast"}, "speed is fast, must be a number"),
        ({"speed": "-1"}, "command line: emulator.speed is -1.0, must be a number greater"),
        ({"port": "0"}, "command line: web.port is 0, must be"),
        ({"units": "0"}, "must be from 1"),
        (
            {"device": "rs485"},
            'units[0].device.kind is "rs485", must be one of native, serial, http',
        ),
    ],
)
def test_launch_arguments_that_make_no_sense(grid_path, texts, said):
    with pytest.raises(ConfigError) as caught:
        resolve(grid_path(), Overrides.of_texts(**texts))

    assert said in str(caught.value)


def test_empty_launch_arguments_change_nothing(grid_path):
    path = grid_path()

    assert resolve(path, Overrides.of_texts(units="", speed="", port="", device="")) == resolve(
        path
    )


@pytest.mark.parametrize("count", [1, 6])
def test_another_number_of_units_gets_a_policy_with_those_members(grid_path, count):
    resolved = resolve(grid_path(), Overrides(units=count))

    policy = parse_policy(resolved.policy_text, "adapted")
    ids = tuple(unit.id for unit in resolved.description.units)
    assert policy.member_unit_ids == ids
    assert set(policy.large_capacity_unit_ids) <= set(ids)


def test_the_same_members_leave_the_policy_file_as_it_is(grid_path):
    path = grid_path()

    assert resolve(path).policy_text == (path.parent / "policy.json").read_text()


def test_everything_that_is_wrong_is_said_at_once(grid_path):
    path = grid_path(
        emulator={"place": {"timezone": "Mars/Olympus"}},
        units=[
            {"id": "E001", "hardware": "none.json", "scenario": "scenario.json"},
            {
                "id": "E099",
                "hardware": "hardware.json",
                "scenario": "scenario.json",
                "house": {"solar_csv": "no_sun.csv", "load_csv": "no_load.csv"},
            },
        ],
    )
    (path.parent / "scenario.json").write_text("{ not JSON")

    said = "\n".join(problems(path))

    for part in ("Mars/Olympus", "units[0].hardware is none.json", "scenario.json: line 1"):
        assert part in said
    for part in ("house.solar_csv is no_sun.csv", "house.load_csv is no_load.csv", "E099"):
        assert part in said
    assert said.count("scenario.json: line 1") == 1  # two units share the file


def test_a_wrong_grid_file_does_not_hide_what_else_is_wrong(grid_path):
    path = grid_path(spede=3, emulator={"place": {"timezone": "Asia/Tokio"}})
    (path.parent / "policy.json").write_text("[]")
    (path.parent / "hardware.json").unlink()

    said = "\n".join(problems(path))

    assert "spede" in said
    assert "emulator.place.timezone is Asia/Tokio" in said
    assert "policy.json" in said
    assert "units[1].hardware is hardware.json" in said


def test_a_missing_grid_file_is_one_line():
    assert problems(Path("no/such.yaml")) == ["no/such.yaml: no such file (the grid file)"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("policy: a\npolicy: b\n", "line 2, column 1: the key 'policy' stands twice"),
        ("policy: [a\nunits: b\n", "line 2"),
        ("just text\n", "must have keys"),
    ],
)
def test_text_that_is_not_a_grid_says_where(tmp_path, text, said):
    path = tmp_path / "grid.yaml"
    path.write_text(text)

    assert said in problems(path)[0]


def test_the_run_folder_has_what_the_nodes_start_from(grid_path, tmp_path):
    run = RunFolder(tmp_path / "run")
    resolved = resolve(grid_path())

    write_run_folder(resolved, run)

    assert parse_grid(json.loads(run.grid_file.read_text()), "grid.json") == resolved.description
    nodes = yaml.safe_load(run.params_file.read_text())
    assert set(nodes) == {
        "/apis/village/emulator",
        "/apis/village/dashboard",
        "/apis/village/e001/unit",
        "/apis/village/e002/unit",
    }
    for node, content in nodes.items():  # the emulator makes the time that the others live by
        is_emulator = node.endswith("/emulator")
        assert content["ros__parameters"].get("use_sim_time", False) is not is_emulator
    unit = nodes["/apis/village/e002/unit"]["ros__parameters"]
    assert unit["unit_id"] == "E002"
    assert unit["use_sim_time"] is True
    assert isinstance(unit["speed"], float)
    assert Path(unit["policy_file"]).read_text() == resolved.policy_text


@pytest.mark.parametrize("keep_journal", [False, True])
def test_journals_are_fresh_unless_they_are_to_be_kept(grid_path, tmp_path, keep_journal):
    run = RunFolder(tmp_path / "run")
    resolved = resolve(grid_path())
    write_run_folder(resolved, run)
    for name in ("e001.sqlite", "e001.sqlite-wal"):
        (run.path / "journal" / name).touch()

    write_run_folder(resolved, run, keep_journal=keep_journal)

    assert len(list((run.path / "journal").iterdir())) == (2 if keep_journal else 0)


def test_every_http_device_gets_a_port_of_its_own(grid_path):
    grid = resolve(grid_path(), Overrides(units=5, device="http")).description

    assert [unit.device.http_port for unit in grid.units] == [8081, 8082, 8083, 8084, 8085]


@pytest.mark.parametrize(
    ("driver", "speed", "said"),
    [
        ({"converter": {"kind": "eza2500"}}, 1, "units[0].driver.converter.port: required"),
        ({"converter": {"kind": "eza"}}, 1, "units[0].driver.converter.kind is eza, must be"),
        ({"converter": {"kind": "eza2500", "port": "x"}}, 2, "emulator.speed is 2, must be 1"),
        ({"converter": {"kind": "eza2500", "port": "x"}, "rules": {"lost": 1}}, 1, "unknown key"),
    ],
)
def test_settings_of_real_devices_are_checked_with_the_rest(grid_path, driver, speed, said):
    files = {"hardware": "hardware.json", "scenario": "scenario.json"}
    path = grid_path(units=[{"id": "E001", **files, "driver": driver}])

    with pytest.raises(ConfigError) as caught:
        resolve(path, Overrides(speed=speed))

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("start", "zone"),
    [
        ("2040-06-21 08:00:00", "Asia/Tokyo"),
        ("1970-01-01 00:00:00", "Asia/Tokyo"),
        ("1960-01-01 00:00:00", "UTC"),
        ("9999-12-31 23:59:59", "UTC"),
        ("0001-01-01 00:00:00", "Pacific/Auckland"),
    ],
)
def test_a_start_that_no_message_can_tell_is_refused(grid_path, start, zone):
    path = grid_path(emulator={"start": start, "place": {"timezone": zone}})
    (problem,) = problems(path)
    assert f"emulator.start is {start}, must be from 1970-01-0" in problem
    assert "to 2038-01-1" in problem


def test_profile_files_are_read_by_check_as_by_the_emulator(grid_path):
    path = grid_path(units=[unit("E001", house={"solar_csv": "sun.csv", "load_csv": "load.csv"})])
    (path.parent / "sun.csv").write_text("1,2\n" * 31)
    (path.parent / "load.csv").write_text("header\n" + ",".join(["0", "7", *["1"] * 52]))
    found = problems(path)
    assert found[0] == "sun.csv: row 1 is 2 columns wide, a row has 24 columns, one per hour"
    assert any(p.startswith("load.csv is 0 rows long for them, customer 1 must") for p in found)


def test_lines_and_faults_are_checked_as_by_the_emulator(grid_path):
    cables = [{"units": ["E001", "E009"]}]
    path = grid_path(emulator={"lines": {"cables": cables}})
    assert any("emulator.lines.cables.units is E001 E009" in p for p in problems(path))
    path = grid_path(emulator={"faults": [{"kind": "stuck_converter", "unit": "E009"}]})
    assert any("emulator.faults[0]: there is no unit E009" in p for p in problems(path))


@pytest.mark.parametrize("name", ["a__b", "n__", "__a"])
def test_names_that_ros_does_not_take(grid_path, name):
    assert any(
        f'cluster is "{name}", must be a name of' in p for p in problems(grid_path(cluster=name))
    )
    path = grid_path(units=[unit(name.upper())])
    assert any("single _" in problem for problem in problems(path))


def test_two_devices_on_one_port_are_told(grid_path):
    device = {"kind": "http", "http_port": 9000}
    path = grid_path(units=[unit("E001", device=device), unit("E002", device=device)])
    assert problems(path) == [
        f"{path}: units[1].device.http_port is 9000, is the port of E001 already"
    ]


@pytest.mark.parametrize("host", ["[::1]", "::1", "localhost", "127.0.0.2"])
def test_loopback_addresses_need_no_login(grid_path, host):
    assert resolve(grid_path(web={"host": host})).description.web.host == host.strip("[]")


@pytest.mark.parametrize("host", ["127.evil.example", "a..b", "", "x y"])
def test_other_hosts_do(grid_path, host):
    assert any("web" in problem for problem in problems(grid_path(web={"host": host})))


def test_a_policy_in_another_encoding_is_told(grid_path):
    path = grid_path()
    policy = path.parent / "policy.json"
    policy.write_bytes("{ // Straße\n".encode("latin-1") + policy.read_bytes()[1:])
    assert problems(path) == [
        "policy.json: must be UTF-8 text (policy): byte 0xDF in line 1 is not"
    ]


def test_a_pipe_in_place_of_a_file_is_told(grid_path):
    path = grid_path()
    (path.parent / "scenario.json").unlink()
    os.mkfifo(path.parent / "scenario.json")
    assert problems(path) == [
        "scenario.json: must be an ordinary file, not a pipe (units[0].scenario)"
    ]


def test_warnings_of_all_files_are_told(grid_path):
    path = grid_path()
    scenario = path.parent / "scenario.json"
    scenario.write_text(
        '{"00:00:00-24:00:00": {"batteryStatus": {"-": "any"}, "accept": {"none": {}}}}'
    )
    told = [str(warning) for warning in resolve(path).warnings]
    assert told == [
        "scenario.json: 00:00:00-24:00:00.accept.none: no band has this name, so it is never used"
    ]


def unit(unit_id: str, **more: object) -> dict[str, object]:
    return {"id": unit_id, "hardware": "hardware.json", "scenario": "scenario.json", **more}


def test_a_register_table_stands_beside_the_grid_file(grid_path):
    files = {"hardware": "hardware.json", "scenario": "scenario.json"}
    battery = {"kind": "modbus", "port": "/dev/ttyUSB1", "registers": "my_battery.yaml"}
    driver = {"converter": {"kind": "control_loop"}, "battery": battery}
    path = grid_path(units=[{"id": "E001", **files, "driver": driver}], emulator={"speed": 1})
    table = path.with_name("my_battery.yaml")
    table.write_text(
        "name: of this site\nbyte_order: big\nfields: {rsoc: {type: u16}}\n"
        "blocks: {all: {code: 330031, reply: [rsoc]}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        resolve(path)
    assert "blocks.all.code is 330031, must be the address" in str(caught.value)

    table.write_text(table.read_text().replace("330031", "30030"))
    [unit] = resolve(path).description.units

    assert unit.driver.battery.model_dump()["registers"] == str(table)
