"""``pytest tests/transcripts --rewrite`` records the transcripts anew; read the diff."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
CORE_TESTS = HERE.parents[1] / "src" / "apis_core" / "test"

# pytest's importlib mode does not put a test's folder on the path
for folder in (HERE, CORE_TESTS):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="record the transcripts anew")


@pytest.fixture
def is_rewriting(request: pytest.FixtureRequest) -> bool:
    # conftest of a subfolder: the option is unknown if pytest began elsewhere
    return bool(request.config.getoption("--rewrite", default=False))
