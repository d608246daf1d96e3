"""Every scenario file here holds; those of a finding that is open are known not to.

A file is marked in its first lines: ``# known to fail: finding N``. A mend must take the mark
away: a marked file that holds is an error.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from apis_core.model.errors import ConfigError
from apis_simulator.scenario.__main__ import samples_folder
from apis_simulator.scenario.report import as_data, table
from apis_simulator.scenario.runner import run_story
from apis_simulator.scenario.story import read_story

FOLDER = Path(__file__).parent
FILES = sorted(FOLDER.glob("*.yaml"))
_MARK = re.compile(r"^# known to fail: (finding \d+.*)$", re.MULTILINE)


def _parameters() -> list[object]:
    parameters = []
    for path in FILES:
        found = _MARK.search(path.read_text(encoding="utf-8"))
        marks = [pytest.mark.xfail(reason=found[1], strict=True)] if found else []
        parameters.append(pytest.param(path, id=path.stem, marks=marks))
    return parameters


@pytest.mark.timeout(180)
@pytest.mark.parametrize("path", _parameters())
def test_scenarios(path: Path):
    result = run_story(read_story(path, samples_folder()))

    assert result.holds, "\n" + table(result)


def test_the_same_file_gives_the_same_facts_to_the_byte():
    story = read_story(FOLDER / "one_deal.yaml", samples_folder())

    first, second = run_story(story), run_story(story)

    assert as_data(first) == as_data(second)


def test_the_example_of_the_documentation_holds(tmp_path):
    page = Path(__file__).parents[2] / "docs" / "simulator.md"
    blocks = re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) == 1
    path = tmp_path / "example.yaml"
    path.write_text(blocks[0], encoding="utf-8")

    result = run_story(read_story(path, samples_folder()))

    assert result.holds, "\n" + table(result)


def test_a_droop_of_0_is_an_error_of_the_hwconfig(tmp_path):
    path = tmp_path / "droop.yaml"
    text = (FOLDER / "one_deal.yaml").read_text(encoding="utf-8")
    path.write_text(text + "hardware: {all: {droopRatio: 0}}\n", encoding="utf-8")

    with pytest.raises(ConfigError, match="droopRatio"):
        read_story(path, samples_folder())
