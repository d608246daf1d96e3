"""The words and numbers on the page."""

from __future__ import annotations

import json
from datetime import timedelta, timezone

import pytest

from apis_viz.dashboard import text
from apis_viz.dashboard.confirm import confirmation
from apis_viz.dashboard.demo import DemoSource
from apis_viz.dashboard.state import page_state
from apis_viz.model import GridModel
from apis_viz.records import DealRecord, DealState, Mode, UnitRecord

ZONE = timezone(timedelta(hours=9))
NOON_S = 1_750_474_800.0  # 2025-06-21 12:00:00 at the place


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (text.power(None), "–"),
        (text.power(-0.2), "0 W"),
        (text.power(-525.0), "−525 W"),
        (text.power(999.7), "1.00 kW"),
        (text.energy(2762.4), "2,762 Wh"),
        (text.energy(12_345.0), "12.3 kWh"),
        (text.percent(0.584), "58 %"),
        (text.amount(1.5, "A", 2), "1.50 A"),
        (text.duration(None), "–"),
        (text.duration(59.6), "1 min 00 s"),
        (text.duration(3_700.0), "1 h 01 min"),
        (text.duration(90_000.0), "1 d 1 h"),
        (text.date_time(NOON_S, ZONE), "Sat 21 Jun 2025, 12:00:00"),
        (text.clock_time(None, ZONE), "–"),
    ],
)
def test_numbers_are_written_for_people(written: str, expected: str) -> None:
    assert written == expected


@pytest.mark.parametrize(
    ("words", "kind"),
    [(text.MODE_WORDS, Mode), (text.DEAL_WORDS, DealState)],
)
def test_every_state_has_a_word(words: dict[object, str], kind: type) -> None:
    assert set(words) == set(kind)


def test_an_empty_grid_says_that_it_waits() -> None:
    state = page_state(GridModel(["E001"]).view(now_s=0.0, ros_time_s=None), ZONE)
    assert state["header"]["mode"] == {
        "reported": "",
        "wanted": "",
        "overdue": False,
        "note": "waiting for the units…",
    }
    assert state["units"]["units"][0]["note"] == "not heard of yet"
    notes = {tile["name"]: tile["note"] for tile in state["summary"]["tiles"]}
    assert (notes["Units"], notes["Bus voltage"]) == ("waiting…", "not known yet")


def test_a_silent_unit_says_for_how_long() -> None:
    model = GridModel(["E001"])
    model.take(UnitRecord(unit_id="E001", not_dealing_reason="battery is full"), now_s=0.0)
    assert (
        page_state(model.view(now_s=1.0, ros_time_s=None), ZONE)["units"]["units"][0]["note"]
        == "battery is full"
    )
    assert (
        page_state(model.view(now_s=75.0, ros_time_s=None), ZONE)["units"]["units"][0]["note"]
        == "silent for 1 min 15 s"
    )


def test_a_deal_shows_its_progress_and_how_long_it_runs() -> None:
    model = GridModel(["E001", "E002"])
    deal = DealRecord(
        deal_id="d",
        term=1,
        sequence=1,
        state=DealState.RUNNING,
        discharge_unit_id="E001",
        charge_unit_id="E002",
        energy_wh=120.0,
        current_a=1.5,
        moved_wh=30.04,
        started_at_s=NOON_S - 95.0,
    )
    model.take(deal, now_s=0.0)
    shown = page_state(model.view(now_s=0.0, ros_time_s=NOON_S), ZONE)["deals"]["running"][0]
    assert (shown["moved"], shown["agreed"], shown["percent"]) == ("30.0 Wh", "120 Wh", "25 %")
    assert (shown["ran"], shown["price"], shown["state"]) == ("1 min 35 s", "–", "energy flows")


def test_what_does_harm_is_asked_again_with_the_deals_that_it_ends() -> None:
    source = DemoSource(units=4)
    view = source.view()
    assert view.running, "the demo has a deal under way"
    pair = f"{view.running[0].discharge_unit_id} → {view.running[0].charge_unit_id}"
    for mode in (Mode.FORCE_STOP, Mode.MANUAL):
        question = confirmation(mode, view)
        assert question is not None
        assert pair in question.consequences[0]
    assert confirmation(Mode.RUN, view) is None
    assert confirmation(Mode.SOFT_STOP, view) is None


def test_the_state_is_json_also_with_many_units_and_stays_small() -> None:
    source = DemoSource(units=20)
    assert (
        len(json.dumps(page_state(source.view(), source.zone))) < 60_000
    )  # [bytes] twice a second
