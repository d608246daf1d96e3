"""What all tests share: ROS domains of their own, and the record of tests that are flaky."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter

# Clear of the default 0, and below 102, where DDS uses ports of the ephemeral range.
ROS_DOMAINS = range(10, 102)
FLAKY_FILE = Path(__file__).parent / "build" / "flaky.json"


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Names the tests that failed and then passed: each is a fault, in the test or the product."""
    if hasattr(terminalreporter.config, "workerinput"):
        return  # of pytest-xdist: the process that started it hears everything
    reports = terminalreporter.stats
    failed = {report.nodeid for kind in ("failed", "error") for report in reports.get(kind, [])}
    first_failures = {
        report.nodeid: str(report.longrepr)[-2000:]
        for report in reports.get("rerun", [])
        if report.nodeid not in failed
    }
    if not first_failures:
        return
    FLAKY_FILE.parent.mkdir(exist_ok=True)
    with FLAKY_FILE.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # another part of the tests may end at the same time
        file.seek(0)
        known = json.loads(file.read() or "[]")
        for test, first_failure in first_failures.items():
            known.append({"test": test, "first_failure": first_failure})
            terminalreporter.write_line(f"FLAKY: {test}", yellow=True)
        file.truncate(0)
        file.write(json.dumps(known, indent=2) + "\n")


def _has_a_grid(domain_id: int) -> bool:
    """Whether somebody has started one on a domain, by hand and not for a test."""
    from apis_bringup import run_lock

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_DOMAIN_ID", str(domain_id))
        return run_lock.find() is not None


@contextmanager
def _claimed_ros_domain() -> Iterator[int]:
    """A domain that no grid and no other test process here holds; freed when this process ends."""
    folder = Path(tempfile.gettempdir()) / f"apis-test-domains-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    # Each process begins elsewhere, for a domain that was just left may still be heard of.
    first = os.getpid() % len(ROS_DOMAINS)
    for domain_id in (*ROS_DOMAINS[first:], *ROS_DOMAINS[:first]):
        with (folder / str(domain_id)).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if _has_a_grid(domain_id):
                continue
            yield domain_id
            return
    raise RuntimeError(f"all ROS domains from {ROS_DOMAINS[0]} to {ROS_DOMAINS[-1]} are in use")


@pytest.fixture(scope="session")
def domains() -> Iterator[tuple[int, int]]:
    """Two ROS domains of this test process: one for each test, one for a module's grid."""
    with _claimed_ros_domain() as first, _claimed_ros_domain() as second:
        yield first, second


@contextmanager
def _environment_of_own_domain() -> Iterator[int]:
    with _claimed_ros_domain() as domain_id, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_DOMAIN_ID", str(domain_id))
        patch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        yield domain_id


@pytest.fixture(scope="module")
def own_ros_domain() -> Iterator[int]:
    """The environment of a module's nodes: a ROS domain of their own, on this machine alone."""
    with _environment_of_own_domain() as domain_id:
        yield domain_id


@pytest.fixture
def another_ros_domain() -> Iterator[int]:
    """The environment of one test's nodes, beside those of its module in a domain of their own."""
    with _environment_of_own_domain() as domain_id:
        yield domain_id
