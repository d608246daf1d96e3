"""The page of an invented village, which browser tests look at."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # the fakes beside the tests


@pytest.fixture(scope="session")
def page_url() -> Iterator[str]:
    """Address of the page, on a port that the system chose."""
    yield from _url("--units", "4")


@pytest.fixture(scope="session")
def large_page_url() -> Iterator[str]:
    """The same with 20 houses."""
    yield from _url("--units", "20")


@pytest.fixture(scope="session")
def village_url() -> Iterator[str]:
    """The same with a hundred."""
    yield from _url("--units", "100")


@pytest.fixture(scope="session")
def guarded_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """One that demands a login (anna operates, otto looks), and its audit log."""
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
    with _started("--access", str(users), "--audit", str(audit)) as (url, _):
        yield url, audit


@pytest.fixture
def short_lived_page() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """One that the test may stop itself."""
    with _started("--units", "4") as served:
        yield served


def _url(*arguments: str) -> Iterator[str]:
    with _started(*arguments) as (url, _):
        yield url


@contextmanager
def _started(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    pytest.importorskip("nicegui")
    path = os.pathsep.join((str(HERE.parent), os.environ.get("PYTHONPATH", "")))
    process = subprocess.Popen(
        [sys.executable, str(HERE / "fake_grid.py"), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        match = re.search(r"http://\S+", line)
        assert match, f"the page did not start: {line!r}"
        yield match.group(), process
    finally:
        process.terminate()
        assert process.wait(timeout=10.0) == 0, "SIGTERM must end the page cleanly"
