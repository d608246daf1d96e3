"""The villages in which rules of exchange are judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from apis_bringup.grid_file import resolve
from apis_study import Study

FOLDER = Path(__file__).resolve().parents[2] / "config" / "villages"
FILES = sorted(FOLDER.glob("*.yaml"))


def test_there_are_villages():
    assert len(FILES) >= 5


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_village_can_be_studied(file):
    study = Study(resolve(file).description)
    assert [case.name for case in study.cases] == ["none", "original", "value", "pool"]
    assert len(study.village.houses) == 10
    for case in study.cases[2].village.houses:
        assert case.scenario.value is not None
        assert case.scenario.value.has_mains is case.mains


def test_without_mains_less_load_is_left_unserved():
    description = resolve(FOLDER / "without_mains.yaml").description
    settings = description.study.model_copy(update={"days": 10.0, "cases": ("none", "value")})
    kpis = Study(description.model_copy(update={"study": settings})).run().kpis
    assert kpis["value"]["unserved_wh"] < 0.8 * kpis["none"]["unserved_wh"]
