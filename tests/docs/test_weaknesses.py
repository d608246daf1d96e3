"""docs/weaknesses.md has a row for every weakness, and names only tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINES = (ROOT / "docs" / "weaknesses.md").read_text().splitlines()
ROWS = [line.strip("|").split("|") for line in LINES if re.match(r"\| W\d", line)]


def test_every_weakness_has_one_row():
    assert [row[0].strip() for row in ROWS] == [f"W{number}" for number in range(1, 44)]


def test_every_row_says_open_or_names_a_test_that_exists():
    folders = (ROOT / "src", ROOT / "tests")
    files = [path for folder in folders for path in folder.rglob("test_*.py")]
    defined = {name for path in files for name in re.findall(r"def (test_\w+)", path.read_text())}
    for row in ROWS:
        assert len(row) == 5, row
        test = row[4].strip()
        named = re.findall(r"`(test_\w+)`", test)
        assert set(named) <= defined, row
        assert named or test == "open", row
        assert test != "open" or row[2].strip().startswith("open"), row
