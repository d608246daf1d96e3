"""Villages with and without exchange."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from apis_site.grid import Lines
from apis_study import Results, Study
from apis_study.__main__ import INTERRUPTED, main


def test_a_week_alone(make_grid, tmp_path, capsys):
    make_grid(1, days=7, cases=["none"], bounds=[])
    out = tmp_path / "out"
    assert main([str(tmp_path / "grid.json"), "--out", str(out)]) == 0
    days = pd.read_parquet(out / "days.parquet")
    assert len(pd.read_csv(out / "days.csv")) == len(days)
    assert list(days.day) == [1, 2, 3, 4, 5, 6, 7]  # the last midnight begins no day of its own
    assert days.load_wh.to_list() == pytest.approx([4_800.0] * 7, rel=1e-6)
    kpis = json.loads((out / "kpis.json").read_text())["none"]
    assert kpis["solar_wh"] + kpis["curtailed_wh"] == pytest.approx(7 * 8 * 3000.0, rel=0.01)
    assert kpis["energy_residual_ratio"] < 1e-9
    assert kpis["sent_wh"] == kpis["deals"] == 0.0
    assert "1 houses, 7 days, steps of 60 s" in capsys.readouterr().out


@pytest.fixture
def results(make_grid) -> Results:
    return Study(make_grid(4, days=3)).run()


def test_exchange_saves_and_the_pool_saves_more(results):
    assert list(results.kpis) == ["none", "original", "configured", "pool", "foresight"]
    for name in ("original", "configured"):
        kpis = results.kpis[name]
        assert kpis["deals"] > 10
        assert 0.0 < kpis["saved_wh"] < results.kpis["pool"]["saved_wh"]
        assert 0.0 < kpis["performance_index_ratio"] < 1.0
    assert results.kpis["pool"]["performance_index_ratio"] == 1.0
    assert set(results.houses["configured"]) == {"E001", "E002", "E003", "E004"}


def test_no_energy_is_lost_from_sight(results):
    for kpis in results.kpis.values():
        assert kpis["energy_residual_ratio"] < 1e-9
        assert kpis["sent_wh"] == pytest.approx(
            kpis["received_wh"] + kpis["lost_line_wh"], rel=1e-9
        )


def test_who_deals_pays_and_is_paid(results):
    kpis = results.kpis["configured"]
    assert kpis["bought_points"] == pytest.approx(kpis["sold_points"])
    assert kpis["bought_points"] > 0.0


def test_the_same_seed_gives_the_same_to_the_byte(make_grid):
    grid = make_grid(4, days=1, cases=["configured"], bounds=[])
    first, second = (json.dumps(Study(grid).run().houses) for _ in range(2))
    assert first == second


def test_lines_lose_what_nobody_receives(make_grid):
    grid = make_grid(4, days=2, cases=["configured"], bounds=[])
    emulator = grid.emulator.model_copy(update={"lines": Lines(conductor_ohm_per_m=0.02)})
    kpis = Study(grid.model_copy(update={"emulator": emulator})).run().kpis["configured"]
    assert kpis["lost_line_wh"] > 0.0
    lost_wh = kpis["sent_wh"] - kpis["received_wh"]
    assert lost_wh == pytest.approx(kpis["lost_line_wh"], abs=1e-9 * kpis["sent_wh"])


def test_compat_batteries_lose_nothing(make_grid):
    kpis = Study(make_grid(2, days=2, physics="compat")).run().kpis
    assert kpis["configured"]["lost_battery_wh"] == pytest.approx(0.0, abs=1e-6)
    assert kpis["configured"]["energy_residual_ratio"] < 1e-9
    assert kpis["configured"]["lost_converter_wh"] > 0.0


def test_the_value_rule_saves_more_and_nobody_loses(make_grid):
    results = Study(make_grid(4, days=10, cases=["none", "original", "value"], bounds=[])).run()
    original, value = results.kpis["original"], results.kpis["value"]
    assert value["saved_wh"] > 1.1 * original["saved_wh"]
    assert value["deals"] > 10
    assert value["houses_worse_off"] == 0.0
    assert value["energy_residual_ratio"] < 1e-9


def test_variants_are_cases_with_what_to_compare_with(make_grid):
    grid = make_grid(
        2,
        days=1,
        cases=["none"],
        bounds=[],
        variants={"battery_scale": [0.5], "deal_current_a": [1]},
    )
    kpis = Study(grid).run().kpis
    names = ["none", "deal_current_a=1", "none, battery_scale=0.5", "battery_scale=0.5"]
    assert list(kpis) == names
    assert kpis["battery_scale=0.5"]["capacity_wh"] == 0.5 * kpis["none"]["capacity_wh"]
    assert "saved_wh" in kpis["battery_scale=0.5"]


def test_ctrl_c_keeps_what_is_done_and_resume_goes_on(make_grid, tmp_path, monkeypatch, capsys):
    make_grid(2, days=1, cases=["none", "configured"], bounds=[])
    words = [str(tmp_path / "grid.json"), "--out", str(tmp_path / "out")]
    import apis_study.study as module

    real, run = module.run_case, []

    def interrupted(case, *rest):
        if case.name == "configured":
            raise KeyboardInterrupt
        return real(case, *rest)

    monkeypatch.setattr(module, "run_case", interrupted)
    assert main(words) == INTERRUPTED
    assert list(json.loads((tmp_path / "out" / "kpis.json").read_text())) == ["none"]
    assert "not done: configured; --resume goes on" in capsys.readouterr().err

    def counted(case, *rest):
        run.append(case.name)
        return real(case, *rest)

    monkeypatch.setattr(module, "run_case", counted)
    assert main([*words, "--resume"]) == 0
    assert run == ["configured"]
    assert set(json.loads((tmp_path / "out" / "kpis.json").read_text())) == {"none", "configured"}


def test_what_is_wrong_is_told(tmp_path, capsys):
    file = tmp_path / "grid.json"
    file.write_text("{")
    assert main([str(file), "--out", str(tmp_path)]) == 2
    assert "it must be JSON" in capsys.readouterr().err


def test_all_mistakes_of_a_study_are_told_at_once(make_grid, tmp_path, capsys):
    make_grid(2, days=0, cases=["nobody"])
    assert main([str(tmp_path / "grid.json"), "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "study.days is 0" in said
    assert "study.cases" in said
    assert "none" in said
