"""A unit whose journal cannot be written: it deals no more, and says so."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from apis_bringup.graph import Graph
from apis_bringup.observer import GridObserver
from apis_bringup.run_folder import RunFolder
from apis_bringup.run_lock import find
from apis_interfaces.msg import Fault, OperationMode

pytestmark = [pytest.mark.ros, pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def grid(apisctl, domains, monkeypatch) -> Iterator[GridObserver]:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domains[0]))
    apisctl.start("run", "--no-web", "--units", "2").read_until("is the grid master")
    with Graph("village") as graph:
        yield GridObserver(graph)


def test_a_unit_that_cannot_remember_neither_deals_nor_votes_and_says_why(grid):
    heard: dict[str, DiagnosticStatus] = {}

    def hear(message: DiagnosticArray) -> None:
        heard.update({status.hardware_id: status for status in message.status})

    grid._graph.subscribe(DiagnosticArray, "/diagnostics", hear, 10)
    assert grid.wait_for(lambda: grid.statuses.keys() >= {"E001", "E002"}, within_s=60.0)
    journal = RunFolder(Path(find().folder)).journal_file("E002")
    # another process holds the file, as a full disk would keep it from growing
    with sqlite3.connect(journal, isolation_level=None) as holder:
        holder.execute("BEGIN IMMEDIATE")
        grid.set_mode(OperationMode.MODE_SOFT_STOP, unit_id="E002")  # something to write down
        assert grid.wait_for(
            lambda: "journal_failed" in grid.statuses["E002"].fault_codes, within_s=30.0
        )
        (fault,) = [fault for fault in grid.faults if fault.code == "journal_failed"]
        assert (fault.unit_id, fault.category) == ("E002", Fault.CATEGORY_FRAMEWORK)
        assert "database is locked" in fault.message
        assert grid.wait_for(
            lambda: (
                "E002" in heard
                and heard["E002"].level == DiagnosticStatus.ERROR
                and "database is locked"
                in {v.key: v.value for v in heard["E002"].values}["journal"]
            ),
            within_s=30.0,
        )
        holder.execute("ROLLBACK")
    # and when it can write again, the fault is over after the policy's time
    assert grid.wait_for(lambda: not grid.statuses["E002"].fault_codes, within_s=60.0)
