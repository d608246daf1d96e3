"""The process list."""

from __future__ import annotations

from pathlib import Path

import pytest

from apis_bringup.processes import (
    Extras,
    dashboard_url,
    node_parameters,
    process_list,
    stop_limit_s,
)
from apis_bringup.roles import Role
from apis_bringup.run_folder import RunFolder
from apis_core.config.policy import parse_policy
from apis_core.model.errors import ConfigError
from apis_site.grid import GridDescription, Web, parse_grid, with_http_ports

RUN = RunFolder(Path("/run"))
CONFIG = Path(__file__).resolve().parents[3] / "config"
POLICY = parse_policy((CONFIG / "policy.json").read_text(), "policy.json")


def grid_of(count: int, composition: str = "auto") -> GridDescription:
    template = {"hardware": "h.json", "scenario": "s.json"}
    units = {"count": count, "template": template}
    return parse_grid({"policy": "p.json", "units": units, "composition": composition}, "grid")


def test_a_small_grid_has_a_process_for_every_unit():
    names = [process.name for process in process_list(grid_of(3), RUN)]

    assert names == ["emulator", "unit E001", "unit E002", "unit E003", "dashboard"]


@pytest.mark.parametrize(
    ("count", "composition", "unit_processes"),
    [(8, "auto", 8), (9, "auto", 1), (2, "shared", 1), (9, "separate", 9)],
)
def test_composition(count, composition, unit_processes):
    units = [p for p in process_list(grid_of(count, composition), RUN) if p.executable == "unit"]

    assert len(units) == unit_processes
    ids = [word for unit in units for word in unit.arguments[3:]]
    assert ids == [f"E{number:03}" for number in range(1, count + 1)]
    assert all(unit.arguments[:3] == ("--cluster", "village", "--units") for unit in units)


def test_without_the_dashboard():
    assert "dashboard" not in [p.name for p in process_list(grid_of(1), RUN, web=False)]


def test_only_units_stop_first_and_know_their_own_namespace():
    for process in process_list(grid_of(2), RUN):
        is_unit = process.package == "apis_node"
        assert process.role.stop_turn == (0 if is_unit else 2)
        assert process.namespace == ("" if is_unit else "/apis/village")
        assert process.params_file == RUN.params_file


def test_a_unit_has_the_time_to_stop_that_the_bus_takes_to_go_down():
    grid = grid_of(2)
    bus = grid.emulator.bus.model_copy(update={"ramp_down_v_per_s": 10.0})
    slow = grid.model_copy(update={"emulator": grid.emulator.model_copy(update={"bus": bus})})
    unit = next(p for p in process_list(grid, RUN) if p.role is Role.UNIT)
    node = "/apis/village/e001/unit"

    assert node_parameters(slow, RUN, RUN.policy_file)[node]["bus_down_s"] == 40.0
    longer_s = stop_limit_s(unit, slow, POLICY) - stop_limit_s(unit, grid, POLICY)
    assert longer_s == pytest.approx((40.0 - 400.0 / 60.0) / grid.emulator.speed, abs=0.01)


def test_the_dashboards_address_may_be_ipv6():
    grid = grid_of(1).model_copy(update={"web": Web(host="::1", port=80)})

    assert dashboard_url(grid) == "http://[::1]:80"


def test_what_launch_arguments_say_of_other_windows():
    assert Extras.of_texts("false", "", "false") == Extras()
    all_of_them = Extras.of_texts("true", "4383", "true", "/day.mcap")
    assert all_of_them == Extras(True, 4383, True, Path("/day.mcap"))
    with pytest.raises(ConfigError, match="metrics_port is many, must be a port"):
        Extras.of_texts("false", "many", "false")


def test_what_else_looks_at_a_grid_is_off_and_knows_its_files_when_it_is_on():
    extras = Extras(markers=True, metrics_port=9000, record=Path("/day.mcap"))
    names = [process.name for process in process_list(grid_of(1), RUN, extras=extras)]
    nodes = node_parameters(grid_of(1), RUN, RUN.policy_file, extras=extras)

    assert names[-4:] == ["dashboard", "markers", "metrics", "recorder"]
    assert nodes["/apis/village/metrics"]["port"] == 9000
    assert nodes["/apis/village/recorder"]["file"] == "/day.mcap"
    assert nodes["/apis/village/markers"]["policy_file"] == "/run/policy.json"
    assert "/apis/village/compat_http" not in nodes


def test_units_with_devices_of_their_own_have_a_driver_that_stops_between():
    kinds = [{"kind": kind} for kind in ("native", "serial", "http")]
    template = {"hardware": "h.json", "scenario": "s.json", "device": kinds}
    data = {"policy": "p.json", "units": {"count": 3, "template": template}}
    grid = with_http_ports(parse_grid(data, "grid"))

    drivers = [p for p in process_list(grid, RUN) if p.package == "apis_driver"]
    parameters = node_parameters(grid, RUN, RUN.policy_file)

    assert [p.name for p in drivers] == ["driver E002", "driver E003"]
    assert drivers[0].arguments == ("--cluster", "village", "--unit", "E002")
    assert {p.role.stop_turn for p in drivers} == {1}
    assert "/apis/village/e001/driver" not in parameters
    serial = parameters["/apis/village/e002/driver"]
    assert serial["converter"] == {
        "kind": "eza2500",
        "port": str(RUN.path / "tty" / "e002-dcdc"),
        "baud": 19200,
        "reply_timeout_s": 0.5,
        "byte_gap_s": 0.15,
    }
    assert serial["battery"]["port"] == str(RUN.path / "tty" / "e002-battery")
    http = parameters["/apis/village/e003/driver"]
    assert http["converter"]["url"] == "http://127.0.0.1:8081"


REAL = {
    "converter": {"kind": "eza2500", "port": "/dev/ttyUSB0"},
    "battery": {"kind": "modbus", "port": "/dev/ttyUSB1"},
}


@pytest.mark.parametrize("is_alone", [True, False])
def test_real_devices_are_driven_and_not_emulated(is_alone):
    units = [{"id": "E001", "hardware": "h", "scenario": "s", "driver": REAL}]
    if not is_alone:
        units.append({"id": "E002", "hardware": "h", "scenario": "s"})
    grid = parse_grid({"policy": "p", "units": units, "emulator": {"speed": 1}}, "grid")

    names = [process.name for process in process_list(grid, RUN, web=False)]
    parameters = node_parameters(grid, RUN, RUN.policy_file)

    assert ("emulator" in names) is not is_alone
    assert "driver E001" in names
    driver = parameters["/apis/village/e001/driver"]
    assert (driver["converter"], driver["battery"]) == (REAL["converter"], REAL["battery"])
    assert driver["use_sim_time"] is False
    assert parameters["/apis/village/e001/unit"]["use_sim_time"] is not is_alone
