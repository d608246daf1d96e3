"""A whole grid of real nodes: it trades, and it stops as it should."""

from __future__ import annotations

import json
import os
import signal
import urllib.request

import psutil
import pytest

from apis_bringup.picture import free_port

pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.timeout(240)]

PHASES = [
    *("queued", "activating", "ramping_up", "starting", "running"),
    *("stopping", "releasing", "completed"),
]
LIFTING = ("activating", "ramping_up")


def began_at(deal):
    """When each phase began first; another grid master may have gone on with it."""
    phases = {}
    for phase in deal["phases"]:
        phases.setdefault(phase["state"], phase["at"])
    return phases


def overlaps(deal, deals):
    """Whether another deal was under way at the same time."""
    others = [other for other in deals if other is not deal]
    return any(
        other["created_at"] < deal["ended_at"]
        and deal["created_at"] < (other["ended_at"] or deal["ended_at"])
        for other in others
    )


def is_exact(deal):
    """Within 0.1 %; on a busy machine a word may come too late, and then the deal says so."""
    gap_wh = deal["received_wh"] - deal["agreed_wh"]
    return abs(gap_wh) <= 1e-3 * deal["agreed_wh"] or (gap_wh > 0.0 and deal["reason"])


def test_four_houses_trade_and_every_converter_ends_in_wait(apisctl, tmp_path):
    file = tmp_path / "report.json"

    done = apisctl("sim", "--units", "4", "--speed", "60", "--for", "900", "--report", file)

    report = json.loads(file.read_text())
    completed = [deal for deal in report["deals"] if deal["state"] == "completed"]
    assert done.returncode == 0, done.stderr
    assert completed, report["deals"]
    assert any("ramping_up" in began_at(deal) for deal in completed)  # the first lifts the bus
    for deal in completed:
        assert is_exact(deal)
        assert deal["sent_wh"] > deal["received_wh"]  # converters and lines take their share
        assert deal["created_at"] < deal["started_at"] < deal["stopped_at"] <= deal["ended_at"]
        began = began_at(deal)
        # on a bus that is up there is nothing to lift, at most a reference to relieve
        assert "activating" in began or "ramping_up" not in began
        passed = [state for state in PHASES if state in began or state not in LIFTING]
        assert list(began) == passed
        assert began["running"] == deal["started_at"]
        assert began["stopping"] <= deal["stopped_at"]  # the currents run down first
        assert deal["books"]["discharge"]["grid_wh"] == pytest.approx(deal["sent_wh"], rel=0.01)
        assert deal["books"]["charge"]["battery_wh"] == pytest.approx(deal["received_wh"])
        # while another deal starts, its taker takes from the reference for some seconds
        assert deal["books"]["apart_ratio"] < (0.05 if overlaps(deal, report["deals"]) else 0.01)
    assert {deal["term"] for deal in completed} <= {term["term"] for term in report["terms"]}
    assert "receipts agree within" in done.stdout
    assert report["converters"] == dict.fromkeys(report["units"], "WAIT")


def test_deals_are_as_exact_when_time_goes_six_hundred_times_as_fast(apisctl, tmp_path):
    """A deal takes a second of wall time, and an answer easily a minute of simulated time."""
    file = tmp_path / "report.json"

    done = apisctl("sim", "--units", "4", "--speed", "600", "--for", "3600", "--report", file)

    report = json.loads(file.read_text())
    completed = [deal for deal in report["deals"] if deal["state"] == "completed"]
    assert done.returncode == 0, done.stderr
    assert completed, report["deals"]
    assert all(is_exact(deal) for deal in completed), completed
    assert report["converters"] == dict.fromkeys(report["units"], "WAIT")


def test_ctrl_c_ends_a_grid_with_its_dashboard_and_leaves_no_orphan(apisctl):
    port = free_port()
    grid = apisctl.start("run", "--port", str(port))
    address = grid.read_until("dashboard: ").split()[-1]
    units = json.loads(apisctl("status", "--json").stdout)
    grid.read_until("dashboard: ")  # now it is the dashboard that says so
    with urllib.request.urlopen(address, timeout=30) as page:
        assert page.status == 200
    children = psutil.Process(grid.process.pid).children(recursive=True)

    os.kill(grid.process.pid, signal.SIGINT)
    code, said = grid.end()

    assert code == 0, said
    assert [unit["unit_id"] for unit in units] == ["E001", "E002", "E003", "E004"]
    assert len(children) == 6  # emulator, four units, dashboard
    assert not [child for child in children if child.is_running()]


def test_an_emulator_that_is_killed_is_named_and_the_rest_stops(apisctl):
    grid = apisctl.start("run", "--no-web", "--units", "2")
    apisctl("status")  # returns when the units are up
    children = psutil.Process(grid.process.pid).children(recursive=True)
    (emulator,) = [child for child in children if "apis_emulator" in " ".join(child.cmdline())]

    emulator.kill()
    code, said = grid.end()

    assert code == 1
    assert "emulator was killed by SIGKILL; its last words:" in said
    assert "did not stop in time" not in said
    assert not [child for child in children if child.is_running()]
