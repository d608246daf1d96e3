"""The commands, with stand-ins for the nodes."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ros, pytest.mark.timeout(120)]


def test_status_and_deals(on_grid):
    units = json.loads(on_grid("status", "--json").stdout)
    deals = json.loads(on_grid("deals", "--json").stdout)

    assert [(unit["unit_id"], unit["mode"]) for unit in units] == [
        ("E001", "run"),
        ("E002", "run"),
    ]
    assert units[0]["grid_voltage_v"] is None  # NaN: not read
    assert [(deal["deal_id"], deal["state"]) for deal in deals] == [
        ("first", "completed"),
        ("second", "running"),
    ]
    assert deals[0]["received_wh"] is None
    assert deals[0]["created_at"] == "2025-06-21T08:00:00.000+09:00"
    assert "50 %" in on_grid("status").stdout
    assert "completed" in on_grid("deals").stdout


def test_modes(on_grid):
    one = on_grid("mode", "soft-stop", "--unit", "E002")
    again = json.loads(on_grid("mode", "soft-stop", "--unit", "E002", "--json").stdout)
    all_units = on_grid("mode", "force-stop")
    unset = on_grid("mode", "unset", "--unit", "E002")

    assert one.stdout == "E002: soft-stop\n"
    assert again == [{"unit_id": "E002", "mode": "soft-stop"}]
    assert all_units.stdout == "all 2 units: force-stop (E002 goes by soft-stop)\n"
    assert unset.stdout == "E002: unset (E002 goes by force-stop)\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("mode", "run", "--unit", "E009"), "must be one of E001, E002"),
        (("mode", "manual", "--unit", "E001"), "whole cluster"),
        (("mode", "unset"), "--unit"),
        (("mode", "walk"), "walk"),
    ],
)
def test_a_wrong_mode_is_one_line(on_grid, arguments, said):
    done = on_grid(*arguments)

    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_echo_and_topics(on_grid):
    clock = json.loads(on_grid("echo", "/clock", "--once", "--json").stdout)
    status = on_grid("echo", "e002/status", "--once").stdout
    unknown = on_grid("echo", "e009/status", "--once")

    assert clock["clock"]["sec"] > 1_750_000_000
    assert "unit_id: E002" in status
    assert unknown.returncode == 1
    assert "there is no topic /apis/village/e009/status" in unknown.stderr
    assert "/apis/village/deals  [apis_interfaces/msg/Deal]" in on_grid("topics").stdout


def test_units_and_faults(on_grid):
    units = json.loads(on_grid("units", "--json").stdout)
    one = on_grid("units", "E002").stdout
    unknown = on_grid("units", "E009")
    faults = json.loads(on_grid("faults", "--json").stdout)

    assert [unit["unit_id"] for unit in units] == ["E001", "E002"]
    assert units[0]["solar_power_w"] is None  # nobody measures these houses
    assert "E002" in one
    assert "E001" not in one
    assert (unknown.returncode, "must be one of E001, E002" in unknown.stderr) == (2, True)
    assert [(fault["code"], fault["is_present"]) for fault in faults] == [("fan_stuck", False)]
    assert "fan_stuck" in on_grid("faults").stdout


def test_watching_goes_on_until_it_is_stopped(on_grid):
    watch = on_grid.start("status", "--watch", "--json")
    looks = [json.loads(watch.read_until('"units"'))]
    while not (looks[-1]["deals"] and looks[-1]["now_s"]):  # topics are found one by one
        looks.append(json.loads(watch.read_until('"units"')))
    looks.append(json.loads(watch.read_until('"units"')))
    watch.process.send_signal(signal.SIGINT)
    code, _ = watch.end()

    assert code == 130
    assert [unit["unit_id"] for unit in looks[0]["units"]] == ["E001", "E002"]
    assert [deal["deal_id"] for deal in looks[-1]["deals"]] == ["second"]
    assert looks[-1]["now_s"] > looks[-2]["now_s"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("E001", "E009", "--energy-wh", "10"), 2, "TAKER is E009, must be one of E001, E002"),
        (("E001", "E001", "--energy-wh", "10"), 2, "another unit than the giver"),
        (("E001", "E002", "--energy-wh", "0"), 2, "--energy-wh"),
    ],
)
def test_a_wrong_deal_is_one_line(on_grid, arguments, code, said):
    done = on_grid("deal", *arguments)

    assert done.returncode == code
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_shell_completes_commands(apisctl):
    script = apisctl("completion", "bash").stdout
    apisctl.env |= {
        "_APISCTL_COMPLETE": "complete_bash",
        "COMP_WORDS": "apisctl sta",
        "COMP_CWORD": "1",
    }

    assert "complete -o default -F" in script
    assert apisctl().stdout.split() == ["status"]


def test_what_is_no_recording_is_not_replayed(apisctl, tmp_path):
    file = tmp_path / "day.mcap"
    file.write_bytes(b"no mcap")

    wrong, missing = apisctl("replay", file), apisctl("replay", tmp_path / "none.mcap")
    nothing = apisctl("record", tmp_path / "new.mcap")

    assert (wrong.returncode, missing.returncode, nothing.returncode) == (2, 2, 1)
    assert "must be a complete MCAP file" in wrong.stderr
    assert "cannot be read: No such file" in missing.stderr
    assert "no grid runs here" in nothing.stderr


def test_a_second_grid_on_the_domain_is_refused(on_grid):
    second = on_grid("run", "--no-web")

    pid = on_grid.background[0].process.pid
    assert second.returncode == 1
    assert f"(process {pid}) already runs on ROS_DOMAIN_ID" in second.stderr


def test_stop_stops_it_and_then_there_is_nothing_to_stop(apisctl, fakes):
    fakes()
    grid = apisctl.start("run", "--no-web", "--units", "2")
    grid.read_until("Ctrl-C")

    first, second = apisctl("stop"), apisctl("stop")
    code, said = grid.end()

    assert (first.returncode, first.stdout) == (0, "stopped village\n")
    assert code == 0, said
    assert second.returncode == 0
    assert second.stdout.startswith("nothing is running")


def test_a_unit_that_does_not_obey_is_named(apisctl, fakes):
    fakes(deaf="E002")
    apisctl.start("run", "--no-web", "--units", "2").read_until("Ctrl-C")

    done = apisctl("mode", "soft-stop")

    assert done.returncode == 1
    assert "not confirmed after 5 s by E002" in done.stderr


def test_nothing_answers_where_nothing_runs(apisctl):
    done = apisctl("status")

    assert done.returncode == 1
    assert "no unit of the cluster 'village' answers" in done.stderr


def test_a_process_that_dies_is_named_and_ends_the_run(apisctl, fakes):
    fakes(dies="emulator")

    code, said = apisctl.start("run", "--no-web", "--units", "2").end()

    assert code == 1
    assert "emulator was killed by SIGKILL; its last words:" in said
    assert said.count("the sun has gone out") == 2


def child_of(pid: int, *words: str) -> int:
    """The process that this one has started with these words in its command line."""
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in file.read_text().split():
            command = Path(f"/proc/{child}/cmdline").read_text()
            if all(word in command for word in words):
                return int(child)
    raise AssertionError(words)


def test_a_unit_that_is_killed_is_started_again_unless_all_is_to_fail_fast(apisctl, fakes):
    fakes()
    grid = apisctl.start("run", "--no-web", "--units", "2")
    grid.read_until("Ctrl-C")
    apisctl("echo", "e001/status", "--once")  # it is up

    os.kill(child_of(grid.process.pid, "unit", "E001"), signal.SIGKILL)
    grid.read_until("unit E001 is started again now (try 1 of 5); the others go on")
    apisctl("echo", "e001/status", "--once")
    stopped = apisctl("stop")
    fast = apisctl.start("run", "--no-web", "--units", "2", "--fail-fast")
    fast.read_until("Ctrl-C")
    apisctl("echo", "e001/status", "--once")
    os.kill(child_of(fast.process.pid, "unit", "E001"), signal.SIGKILL)

    assert (stopped.stdout, grid.end()[0]) == ("stopped village\n", 0)
    code, said = fast.end()
    assert code == 1
    assert "stopping the others" in said


def test_a_busy_port_is_one_line(apisctl, fakes):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = apisctl("run", "--port", str(port))

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "--port" in done.stderr
    assert str(port) in done.stderr


def test_wrong_files_start_nothing(apisctl, tmp_path):
    config = tmp_path / "grid.yaml"
    config.write_text("policy: none.json\nspede: 3\nunits: []\n")

    for command in (("check",), ("run",), ("sim", "--report", str(tmp_path / "r.json"))):
        done = apisctl(*command, "--config", config)
        assert done.returncode == 2
        assert "spede" in done.stderr
        assert "policy is none.json" in done.stderr
    assert not (tmp_path / "r.json").exists()


def simulate(apisctl, report: Path):
    done = apisctl("sim", "--units", "2", "--speed", "60", "--for", "60", "--report", report)
    return done, json.loads(report.read_text())


def test_a_simulation_lets_deals_finish_and_reports(apisctl, fakes, tmp_path):
    fakes()

    done, report = simulate(apisctl, tmp_path / "report.json")

    assert done.returncode == 0, done.stderr
    assert report["is_complete"]
    assert [deal["state"] for deal in report["deals"]] == ["completed", "completed"]
    assert report["converters"] == {"E001": "WAIT", "E002": "WAIT"}
    assert 60.0 <= report["sim_seconds"] < 120.0
    assert (report["speed"], report["units"], report["seed"]) == (60.0, ["E001", "E002"], 1)
    assert "all converters in WAIT" in done.stdout


def test_a_converter_that_is_left_on_fails_the_simulation(apisctl, fakes, tmp_path):
    fakes(left_on="E002")

    # At such a speed the bounds on stopping pass quickly.
    report_file = tmp_path / "report.json"
    done = apisctl(
        "sim", "--units", "2", "--speed", "1000", "--for", "60", "--report", report_file
    )

    assert done.returncode == 1
    assert json.loads(report_file.read_text())["converters"]["E002"] == "CHARGE"
    assert "converters not in WAIT: E002" in done.stdout


def test_a_simulation_that_loses_a_process_fails_and_still_reports(apisctl, fakes, tmp_path):
    fakes(dies="emulator")

    report_file = tmp_path / "report.json"
    done = apisctl("sim", "--units", "2", "--for", "1e6", "--report", report_file)

    assert done.returncode == 1
    assert "emulator was killed by SIGKILL" in done.stderr
    assert not json.loads(report_file.read_text())["is_complete"]


def test_ctrl_c_ends_a_simulation_with_its_report(apisctl, fakes, tmp_path):
    fakes()
    report_file = tmp_path / "report.json"
    running = apisctl.start("sim", "--units", "2", "--for", "1e4", "--report", report_file)
    running.read_until("2 units are up")

    os.kill(running.process.pid, signal.SIGINT)
    code, _ = running.end()

    report = json.loads(report_file.read_text())
    assert code == 0
    assert not report["is_complete"]
    assert report["converters"] == {"E001": "WAIT", "E002": "WAIT"}


def test_a_report_that_cannot_be_written_is_found_before_anything_starts(apisctl):
    done = apisctl("sim", "--report", "/no/such/folder/report.json")

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "/no/such/folder/report.json" in done.stderr
