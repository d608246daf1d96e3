"""The file of the operator's history: what others read of it, and what becomes of old files."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from apis_core.model.types import DealState, FaultLevel
from apis_site import operator_history
from apis_site.history_values import DealRecord, Energy, EventRecord, Schedule
from apis_site.operator_history import HistoryError, OperatorHistory

NOON_S = 1_750_474_800.0  # 2025-06-21 12:00:00 in Tokyo
TODAY = date(2025, 6, 21)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "history.sqlite"


def deal(deal_id: str = "d1", state: DealState = DealState.RUNNING) -> DealRecord:
    return DealRecord(
        deal_id=deal_id,
        term=1,
        sequence=9,
        state=state,
        discharge_unit_id="E001",
        charge_unit_id="E002",
        energy_wh=100.0,
        current_a=2.0,
        created_at_s=NOON_S,
        steps=((DealState.QUEUED, NOON_S), (DealState.RUNNING, NOON_S + 50.0)),
    )


def test_another_process_reads_what_is_kept_while_it_is_kept(path: Path) -> None:
    with closing(OperatorHistory(path)) as history:
        event = EventRecord(stamp_s=NOON_S, unit_id="E001", text="hot", level=FaultLevel.WARN)
        with history.transaction():
            history.put_deal(deal(), NOON_S)
            for _ in range(2):  # heard twice
                history.put_event(event)
            history.put_sample("E001", 60, int(NOON_S), {"soc_ratio": 0.5})
            for _ in range(2):
                history.add_energy(TODAY, "E001", Energy(solar_wh=2.5))
        with closing(OperatorHistory.join(path)) as other:
            assert other.deals() == [deal()]
            assert other.deal("d2") is None
            assert other.events() == [event]
            assert other.series("E001", 60, NOON_S, NOON_S).values["soc_ratio"] == (0.5,)
            assert list(other.energies(TODAY, TODAY)) == [(TODAY, "E001", Energy(solar_wh=5.0))]


def test_what_another_process_schedules_is_found(path: Path) -> None:
    with closing(OperatorHistory(path)) as history:
        with closing(OperatorHistory.join(path)) as other:
            other.set_schedule(Schedule("", 200.0, "apisctl"))
        assert history.schedules() == [Schedule("", 200.0, "apisctl")]


def test_a_write_that_fails_half_way_is_not_done(path: Path) -> None:
    with closing(OperatorHistory(path)) as history:

        def fail() -> None:
            with history.transaction():
                history.put_deal(deal(), NOON_S)
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail()
        assert history.deals() == []


def test_schedules_are_kept_one_per_unit(path: Path) -> None:
    with closing(OperatorHistory(path)) as history:
        history.set_schedule(Schedule("", 200.0, "anna"))
        history.set_schedule(Schedule("E001", 100.0, "anna"))
        history.set_schedule(Schedule("", 300.0, "otto"))
    with closing(OperatorHistory(path)) as history:
        both = [Schedule("E001", 100.0, "anna"), Schedule("", 300.0, "otto")]
        assert history.schedules() == both
        history.clear_schedule("")
        assert history.schedules() == both[:1]


def test_a_file_that_is_no_store_is_set_aside(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is a letter to my aunt, and no database at all" * 50)
    OperatorHistory(path).close()
    aside = path.with_name("history.sqlite.unreadable")
    assert aside.read_bytes().startswith(b"this is a letter")


def test_who_joins_makes_nothing_and_sets_nothing_aside(path: Path) -> None:
    with pytest.raises(HistoryError, match="there is no such file"):
        OperatorHistory.join(path)
    path.parent.mkdir()
    letter = b"this is a letter to my aunt" * 50
    path.write_bytes(letter)
    with pytest.raises(HistoryError, match="not a database"):
        OperatorHistory.join(path)
    assert path.read_bytes() == letter
    path.write_bytes(b"")
    with pytest.raises(HistoryError, match="schema 0, it must be one from 1 to 2"):
        OperatorHistory.join(path)


def test_a_store_that_cannot_be_read_says_so(path: Path) -> None:
    history = OperatorHistory(path)
    history.close()
    with pytest.raises(HistoryError, match="closed database"):
        history.deals()


def test_a_store_of_the_first_schema_is_taken_over(path: Path) -> None:
    old = operator_history._TABLES
    for new, before in (
        (", asked_pt REAL, offered_pt REAL", ""),
        ("category INTEGER DEFAULT 0, extent INTEGER DEFAULT 0, ", ""),
        ("user_version = 2", "user_version = 1"),
    ):
        assert new in old
        old = old.replace(new, before)
    path.parent.mkdir()
    database = sqlite3.connect(path)
    database.executescript(old)
    with database:
        row = ("E001", 60, NOON_S, 0.5, 1000.0, 500.0, 0.0, 0.0, 350.0, 0.0, None)
        database.execute(f"INSERT INTO sample VALUES ({', '.join('?' * len(row))})", row)
    database.close()
    with closing(OperatorHistory.join(path)) as other:
        assert other.deals() == []
    with closing(OperatorHistory(path)) as history:
        series = history.series("E001", 60, NOON_S, NOON_S + 60.0)
        assert series.values["soc_ratio"][0] == 0.5
        assert series.values["asked_pt"][0] is None
        assert history.events() == []
    assert not list(path.parent.glob("*.unreadable"))
