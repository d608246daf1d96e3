"""What ``apisctl deals`` makes of the dashboard's store and of what the graph still tells."""

from __future__ import annotations

import csv
import json
from datetime import datetime, timedelta, timezone
from io import StringIO
from pathlib import Path

import pytest

pytest.importorskip("apis_interfaces.msg", reason="needs the ROS environment")

from apis_bringup.past_deals import as_csv, chosen_deals, past_deals, write_files
from apis_bringup.records import deal_record
from apis_dashboard import records
from apis_dashboard.history import History
from apis_dashboard.model import GridModel
from apis_interfaces.msg import Deal

ZONE = timezone(timedelta(hours=9))
NOON_S = datetime(2025, 6, 21, 12, tzinfo=ZONE).timestamp()


def kept(number: int, age_h: float, *, taker: str = "E002", over: bool = True):
    began_s = NOON_S - 3600.0 * age_h
    return records.DealRecord(
        deal_id=f"d{number}",
        term=2,
        sequence=9,
        state=records.DealState.COMPLETED if over else records.DealState.RUNNING,
        discharge_unit_id="E001",
        charge_unit_id=taker,
        voltage_reference_id="E001",
        grid_master_id="E003",
        energy_wh=100.0,
        current_a=2.0,
        price_point_per_wh=11.5,
        moved_wh=100.0,
        sent_wh=103.0,
        received_wh=99.5,
        created_at_s=began_s,
        started_at_s=began_s + 60.0,
        stopped_at_s=began_s + 660.5,
        ended_at_s=began_s + 670.0,
    )


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """As the dashboard leaves it after two days with a deal every quarter of an hour."""
    file = tmp_path / "history.sqlite"
    history = History(file, ZONE)
    for number in range(192):
        model = GridModel(["E001", "E002", "E004"])
        age_h = 48.0 - number / 4
        model.take(kept(number, age_h, taker="E004" if number % 4 else "E002"), now_s=0.0)
        history.take(model.view(now_s=0.0, ros_time_s=NOON_S - 3600.0 * age_h))
    history.close()
    return file


def test_a_whole_day_is_known_and_as_the_graph_would_tell_it(store):
    past = past_deals(store, ZONE)
    assert len(past) == 192
    of_a_day = chosen_deals(past, [], now_s=NOON_S, days=1.0)
    assert len(of_a_day) == 96
    assert of_a_day[0]["created_at"] == "2025-06-20T12:00:00.000+09:00"
    told = deal_record(
        Deal(
            deal_id="d0",
            state=Deal.STATE_COMPLETED,
            discharge_unit_id="E001",
            charge_unit_id="E002",
        ),
        ZONE,
    )
    assert list(past["d0"]) == list(told)
    assert past["d0"]["duration_s"] == 600.5
    assert (past["d0"]["state"], past["d0"]["agreed_wh"]) == ("completed", 100.0)


def test_deals_are_chosen_by_unit_and_state_and_the_newer_word_counts(store):
    past = past_deals(store, ZONE)
    assert len(chosen_deals(past, [], now_s=NOON_S, unit_id="E002")) == 48
    running = {**past["d191"], "state": "running"}
    new = {**past["d191"], "deal_id": "d192", "state": "running"}
    found = chosen_deals(past, [running, new], now_s=NOON_S, state="running")
    assert [deal["deal_id"] for deal in found] == ["d192"], "d191 is over: it cannot run again"


def test_csv_has_a_line_for_each(store):
    lines = as_csv(chosen_deals(past_deals(store, ZONE), [], now_s=NOON_S, days=1.0))
    rows = list(csv.DictReader(StringIO(lines)))
    assert len(rows) == 96
    assert rows[-1]["price_point_per_wh"] == "11.5"
    assert rows[-1]["reason"] == ""


def test_each_deal_has_a_file_on_its_day(store, tmp_path):
    records = chosen_deals(past_deals(store, ZONE), [], now_s=NOON_S, days=1.0)
    strange = {**records[0], "deal_id": "../x", "created_at": None}
    assert write_files([*records, strange], tmp_path / "deals") == 97
    written = tmp_path / "deals" / "2025" / "06" / "20" / records[0]["deal_id"]
    assert json.loads(written.read_text()) == records[0]
    assert [file.name for file in (tmp_path / "deals" / "unknown").iterdir()] == ["..%2Fx"]


def test_without_a_store_there_is_only_what_the_graph_tells(tmp_path):
    assert past_deals(tmp_path / "none.sqlite", ZONE) == {}
    (tmp_path / "other.sqlite").write_bytes(b"no store" * 1000)
    assert past_deals(tmp_path / "other.sqlite", ZONE) == {}
