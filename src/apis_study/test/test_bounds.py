"""The bounds bound."""

from __future__ import annotations

import pytest

from apis_study import Study
from apis_study.bounds import foresight_kpis, pool_kpis


@pytest.fixture
def study(make_grid) -> Study:
    return Study(make_grid(4, days=3, bounds=["pool", "foresight"]))


def test_nobody_does_better_than_who_knows_the_future(study):
    kpis = study.run().kpis
    assert list(kpis) == ["none", "original", "configured", "pool", "foresight"]
    bought = {name: each["mains_wh"] + each["unserved_wh"] for name, each in kpis.items()}
    best = bought.pop("foresight")
    assert best < min(bought.values())
    assert bought.pop("pool") < min(bought.values())


def test_the_plan_balances(study):
    kpis = foresight_kpis(study.village, study.settings)
    assert kpis["energy_residual_ratio"] < 1e-9
    assert kpis["load_wh"] == pytest.approx(pool_kpis(study.village, study.settings)["load_wh"])


def test_without_mains_it_goes_dark_as_late_as_can_be(make_grid):
    grid = make_grid(2, days=3, bounds=["pool", "foresight"])
    units = [
        unit.model_copy(
            update={"house": unit.house.model_copy(update={"mains": False, "solar_scale": 0.1})}
        )
        for unit in grid.units
    ]
    study = Study(grid.model_copy(update={"units": tuple(units)}))
    plan = foresight_kpis(study.village, study.settings)
    pool = pool_kpis(study.village, study.settings)
    assert plan["mains_wh"] == pool["mains_wh"] == 0.0
    assert 0.0 < plan["unserved_wh"] < pool["unserved_wh"]
