"""docs/hazards.md names only tests and scenarios that there are; an open row one that fails."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINES = (ROOT / "docs" / "hazards.md").read_text(encoding="utf-8").splitlines()
ROWS = [line.strip("|").split("|") for line in LINES if re.match(r"\| HZ\d", line)]
SCENARIOS = {
    path.stem: path.read_text(encoding="utf-8")
    for path in (ROOT / "tests" / "scenarios").glob("*.yaml")
}
MARK = re.compile(r"^# known to fail: finding (\d+)", re.MULTILINE)


def test_there_are_at_least_forty_rows_in_order():
    assert [row[0].strip() for row in ROWS] == [f"HZ{n}" for n in range(1, len(ROWS) + 1)]
    assert len(ROWS) >= 40


def test_every_row_is_shown_by_tests_and_scenarios_that_exist():
    folders = (ROOT / "src", ROOT / "tests")
    files = [path for folder in folders for path in folder.rglob("test_*.py")]
    defined = {name for path in files for name in re.findall(r"def (test_\w+)", path.read_text())}
    for row in ROWS:
        assert len(row) == 7, row
        named = set(re.findall(r"`(\w+)`", row[5]))
        assert named, row
        assert named <= defined | SCENARIOS.keys(), (row[0], named - defined - SCENARIOS.keys())


def test_a_row_is_open_as_long_as_its_finding_is():
    open_rows = [row for row in ROWS if "**open**" in "".join(row)]
    shown = set()
    for row in open_rows:
        findings = set(re.findall(r"\*\*open\*\*, finding (\d+)", "".join(row)))
        named = [name for name in re.findall(r"`(\w+)`", row[5]) if name in SCENARIOS]
        marked = {m[1] for name in named for m in [MARK.search(SCENARIOS[name])] if m}
        assert findings <= marked, f"{row[0].strip()} is open, but no scenario of it is marked"
        shown.update(name for name in named if MARK.search(SCENARIOS[name]))
    marked_files = {name for name, text in SCENARIOS.items() if MARK.search(text)}
    assert marked_files == shown, "a scenario that is known to fail has an open row here"
