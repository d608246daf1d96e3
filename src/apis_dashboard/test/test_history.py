"""What the dashboard remembers."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta, timezone
from pathlib import Path

import pytest

from apis_dashboard import history as history_module
from apis_dashboard.history import BUS, Energy, History
from apis_dashboard.model import GridModel, GridView
from apis_dashboard.records import (
    ConverterRecord,
    DealRecord,
    DealState,
    FaultLevel,
    FaultRecord,
    HouseRecord,
    PriceRecord,
    UnitRecord,
)
from apis_site import operator_history

ZONE = timezone(timedelta(hours=9))
NOON_S = 1_750_474_800.0  # 2025-06-21 12:00:00 at the place
TODAY = date(2025, 6, 21)


def view(
    t: float, *, taken_wh: float = 0.0, solar_w: float = 1000.0, model: GridModel | None = None
) -> GridView:
    model = model or GridModel(["E001"])
    converter = ConverterRecord(
        unit_id="E001",
        grid_voltage_v=350.0,
        grid_power_w=700.0,
        grid_charged_wh=taken_wh,
        grid_discharged_wh=0.0,
        battery_charged_wh=0.9 * taken_wh,
        battery_discharged_wh=0.0,
    )
    house = HouseRecord(
        unit_id="E001", solar_w=solar_w, load_w=500.0, mains_w=100.0, solar_available_w=2000.0
    )
    for record in (house, UnitRecord(unit_id="E001", soc_ratio=0.5, converter=converter)):
        model.take(record, now_s=0.0, ros_time_s=t)
    return model.view(now_s=0.0, ros_time_s=t)


def deal(
    deal_id: str = "d1", state: DealState = DealState.COMPLETED, at_s: float = NOON_S
) -> DealRecord:
    return DealRecord(
        deal_id=deal_id,
        term=1,
        sequence=9,
        state=state,
        discharge_unit_id="E001",
        charge_unit_id="E002",
        energy_wh=100.0,
        current_a=2.0,
        price_point_per_wh=10.0,
        moved_wh=100.0,
        created_at_s=at_s,
        ended_at_s=at_s + 600.0,
    )


def view_of(*records: object, t: float = NOON_S) -> GridView:
    model = GridModel(["E001", "E002"])
    for record in records:
        model.take(record, now_s=0.0, ros_time_s=t)  # type: ignore[arg-type]
    return model.view(now_s=0.0, ros_time_s=t)


def test_means_of_a_minute_survive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "run" / "history.sqlite"
    history = History(path, ZONE)
    for second in range(0, 180, 10):
        history.take(view(NOON_S + second, solar_w=1000.0 if second < 60 else 2000.0))
    history.close()

    history = History(path, ZONE)
    series = history.series("E001", NOON_S, NOON_S + 180.0)
    assert series.t == (NOON_S + 30.0, NOON_S + 90.0, NOON_S + 150.0)
    assert series.values["solar_w"] == (1000.0, 2000.0, 2000.0)
    assert history.series(BUS, NOON_S, NOON_S + 180.0).values["grid_v"] == (350.0,) * 3
    history.close()


def test_energy_is_the_mean_power_over_time_and_the_counters_difference() -> None:
    history = History(None, ZONE)
    model = GridModel(["E001"])
    for minute in range(61):
        history.take(view(NOON_S + 60.0 * minute, taken_wh=10.0 + minute, model=model))
    energy = history.energy(TODAY, TODAY)["E001"]
    assert energy.solar_wh == pytest.approx(1000.0, rel=1e-3)
    assert energy.available_wh == pytest.approx(2000.0, rel=1e-3)
    assert energy.mains_wh == pytest.approx(100.0, rel=1e-3)
    assert energy.charged_wh == pytest.approx(60.0)
    assert energy.converter_loss_wh == pytest.approx(6.0)
    assert energy.self_sufficiency_ratio == pytest.approx(0.8, abs=1e-3)
    assert energy.alone_ratio == pytest.approx(1.0 - 160.0 / 500.0, abs=1e-3)


def test_what_flowed_in_a_long_silence_is_not_invented() -> None:
    history = History(None, ZONE)
    history.take(view(NOON_S))
    history.take(view(NOON_S + 7200.0, taken_wh=500.0))
    assert history.energy(TODAY, TODAY) == {}


def test_days_begin_at_midnight_of_the_place() -> None:
    history = History(None, ZONE)
    midnight_s = NOON_S + 12 * 3600.0
    history.take(view(midnight_s - 600.0))
    history.take(view(midnight_s - 1.0))
    history.take(view(midnight_s + 300.0))
    days = history.energy_by_day(TODAY, TODAY + timedelta(days=1))
    assert list(days) == [TODAY, TODAY + timedelta(days=1)]


def test_a_deal_is_paid_once_however_often_it_is_heard_of(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    for _ in range(2):  # its record is latched: a restarted dashboard hears it again
        history = History(path, ZONE)
        history.take(view_of(deal()))
        history.take(view_of(deal()))
        history.close()
    history = History(path, ZONE)
    found = history.energy(TODAY, TODAY)
    assert found["E001"] == Energy(earned_pt=1000.0)
    assert found["E002"] == Energy(paid_pt=1000.0)
    assert [known.deal_id for known in history.deals()] == ["d1"]
    assert history.deals()[0] == deal()


def test_a_dashboard_that_was_restarted_knows_what_a_deal_went_through(tmp_path: Path) -> None:
    file = tmp_path / "history.sqlite"

    def hear(state: DealState, at_s: float) -> History:
        history = History(file, ZONE)
        model = GridModel(["E001", "E002"])
        told = replace(deal(state=state, at_s=NOON_S), sequence=int(at_s), stamp_s=NOON_S + at_s)
        model.take(told, now_s=0.0)
        history.take(model.view(now_s=0.0, ros_time_s=NOON_S + at_s))
        return history

    hear(DealState.RAMPING_UP, 5.0).close()
    history = hear(DealState.RUNNING, 50.0)
    assert history.deals()[0].steps == (
        (DealState.RAMPING_UP, NOON_S + 5.0),
        (DealState.RUNNING, NOON_S + 50.0),
    )


def test_deals_can_be_filtered() -> None:
    history = History(None, ZONE)
    early = deal("early", DealState.ABORTED, NOON_S - 86_400.0)
    history.take(view_of(early, deal("late"), deal("now", DealState.RUNNING, NOON_S + 1.0)))
    ids = lambda **wanted: [d.deal_id for d in history.deals(**wanted)]  # noqa: E731
    assert ids() == ["now", "late", "early"]
    assert ids(state=DealState.ABORTED) == ["early"]
    assert ids(from_s=NOON_S - 10.0) == ["now", "late"]
    assert ids(unit_id="E003") == []
    assert ids(limit=1) == ["now"]


def test_a_simulation_that_begins_again_overwrites_what_came_later(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    history = History(path, ZONE)
    for minute in range(10):
        history.take(view(NOON_S + 60.0 * minute))
    history.take(view_of(deal(at_s=NOON_S + 300.0), t=NOON_S + 600.0))
    history.close()

    history = History(path, ZONE)
    history.take(view(NOON_S + 120.0))
    history.take(view(NOON_S + 180.0))
    assert history.series("E001", NOON_S - 60.0, NOON_S + 900.0).t == (
        NOON_S + 30.0,
        NOON_S + 90.0,
        NOON_S + 150.0,
    )
    assert history.deals() == []


def test_the_store_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_history, "TIERS", ((60, 600), (900, 3600)))
    monkeypatch.setattr(operator_history, "KEEP_DEALS", 3)
    monkeypatch.setattr(operator_history, "KEEP_EVENTS", 2)
    monkeypatch.setattr(history_module, "PRUNE_EVERY", 5)
    history = History(None, ZONE)
    for minute in range(120):
        t = NOON_S + 60.0 * minute
        fault = FaultRecord(
            unit_id="E001", level=FaultLevel.WARN, code=f"c{minute}", message="m", stamp_s=t
        )
        history.take(view_of(deal(f"d{minute}", at_s=t), fault, UnitRecord(unit_id="E001"), t=t))
    assert len(history.series("E001", 0.0, 2.0 * NOON_S).t) <= 4 + 1
    assert len(history.deals()) <= 3 + 5
    assert len(history.events()) <= 2 + 5


def test_what_a_unit_asked_and_offered_is_kept_where_it_said_so() -> None:
    history = History(None, ZONE)
    model = GridModel(["E001"])
    model.take(UnitRecord(unit_id="E001"), now_s=0.0)

    def look(t: float, price: PriceRecord | None = None) -> None:
        if price is not None:
            model.take(price, now_s=0.0)
        history.take(model.view(now_s=0.0, ros_time_s=t))

    def named(price: float, is_asked: bool, t: float) -> PriceRecord:
        return PriceRecord(unit_id="E001", is_asked=is_asked, price_point_per_wh=price, stamp_s=t)

    look(NOON_S, named(8.0, True, NOON_S))
    look(NOON_S + 30.0)  # the same word again is not said twice
    look(NOON_S + 40.0, named(10.0, True, NOON_S + 40.0))
    look(NOON_S + 60.0)
    look(NOON_S + 120.0, named(12.0, False, NOON_S + 120.0))
    look(NOON_S + 180.0)
    series = history.series("E001", NOON_S, NOON_S + 200.0)
    assert series.values["asked_pt"] == (9.0, None, None)
    assert series.values["offered_pt"] == (None, None, 12.0)
