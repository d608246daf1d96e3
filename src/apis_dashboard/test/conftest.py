"""The demo page that browser tests look at."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def demo_url() -> Iterator[str]:
    """Address of a demo page, on a port that the system chose."""
    yield from _demo("--units", "4", "--past-days", "0")


@pytest.fixture(scope="session")
def large_demo_url() -> Iterator[str]:
    """The same with 20 houses."""
    yield from _demo("--units", "20", "--past-days", "0")


@pytest.fixture(scope="session")
def village_url() -> Iterator[str]:
    """The same with a hundred."""
    yield from _demo("--units", "100", "--past-days", "0")


@pytest.fixture(scope="session")
def guarded_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A demo that demands a login (anna operates, otto looks), and its audit log."""
    from apis_dashboard.access import hash_password

    folder = tmp_path_factory.mktemp("guarded")
    users = folder / "users.yaml"
    users.write_text(
        f"users:\n"
        f'  - {{name: anna, role: operator, password: "{hash_password("operates it")}"}}\n'
        f'  - {{name: otto, role: viewer, password: "{hash_password("looks at it")}"}}\n',
        encoding="utf-8",
    )
    users.chmod(0o600)
    audit = folder / "audit.jsonl"
    with _started("--access", str(users), "--audit", str(audit), "--past-days", "0") as (url, _):
        yield url, audit


@pytest.fixture
def short_lived_demo() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A demo that the test may stop itself."""
    with _started("--units", "4", "--past-days", "0") as demo:
        yield demo


def _demo(*arguments: str) -> Iterator[str]:
    with _started(*arguments) as (url, _):
        yield url


@contextmanager
def _started(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    pytest.importorskip("nicegui")
    path = os.pathsep.join((str(PACKAGE), os.environ.get("PYTHONPATH", "")))
    process = subprocess.Popen(
        [sys.executable, "-m", "apis_dashboard.demo", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        match = re.search(r"http://\S+", line)
        assert match, f"the demo did not start: {line!r}"
        yield match.group(), process
    finally:
        process.terminate()
        assert process.wait(timeout=10.0) == 0, "SIGTERM must end the page cleanly"
