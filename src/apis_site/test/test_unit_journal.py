"""What was written is there after the process, however the process ended."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from apis_core.events import (
    DealClosed,
    DealCounted,
    DealOpened,
    FaultsLatched,
    GlobalModeSet,
    HourCounted,
    LeaseGranted,
    LocalModeSet,
    PolicyAdopted,
    PolicyPrepared,
)
from apis_core.model.errors import ConfigError
from apis_core.model.messages import Deal, Fault
from apis_core.model.receipt import Receipt
from apis_core.model.types import (
    DealState,
    FaultCategory,
    FaultExtent,
    FaultLevel,
    Meter,
    OperationMode,
)
from apis_core.trading.energy_history import EnergyHistory
from apis_core.unit.persisted_state import PersistedState
from apis_site.unit_journal import Journal, JournalError, read_receipts


def deal(deal_id: str = "d", **changes: object) -> Deal:
    fields: dict[str, object] = {
        "deal_id": deal_id,
        "request_unit_id": "E001",
        "accept_unit_id": "E002",
        "discharge_unit_id": "E002",
        "charge_unit_id": "E001",
        "energy_wh": 50.0,
        "current_a": 2.0,
    }
    return Deal(**{**fields, **changes})  # type: ignore[arg-type]


FULL_DEAL = deal(
    price_point_per_wh=0.1 + 0.2,
    meter=Meter.GRID,
    term=2**63,
    sequence=7,
    grid_master_id="E003",
    state=DealState.QUEUED,
    reason="äö\n'; DROP TABLE entries; --",
    voltage_reference_id="E002",
    moved_wh=1e-9,
    sent_wh=1.5,
    created_ns=2**60 + 1,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite3"


def recalled(path: Path) -> PersistedState:
    journal = Journal(path)
    try:
        return journal.recall()
    finally:
        journal.close()


def complaint(path: Path) -> str:
    """The one line that says why a file cannot be used."""
    with pytest.raises(ConfigError) as caught:
        recalled(path)
    (problem,) = caught.value.problems
    assert problem.source == str(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_new_journal_remembers_nothing(path):
    assert recalled(path) == PersistedState()
    assert path.is_file()


def test_the_folder_is_made(tmp_path):
    path = tmp_path / "a" / "b" / "journal.sqlite3"
    recalled(path)
    assert path.is_file()


LEAK = Fault(
    unit_id="E002",
    reporter_id="E001",
    category=FaultCategory.HARDWARE,
    extent=FaultExtent.GLOBAL,
    level=FaultLevel.ERROR,
    code="leak",
    message="0.6 A are missing",
)
COUNTED, COUNTED_LATER = Receipt("d", 5.0, 4.5), Receipt("d", 10.0, 9.0)


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([LeaseGranted(3, "E002")], PersistedState(term=3, granted_to="E002")),
        (
            [LeaseGranted(3, "E002"), LeaseGranted(4, "E001")],
            PersistedState(term=4, granted_to="E001"),
        ),
        (
            [HourCounted(k, 500.0, 200.0, is_curtailed=False) for k in range(9, 40)],
            PersistedState(history=EnergyHistory(40, [500.0] * 31, [500.0] * 31, [200.0] * 31)),
        ),
        (
            [LocalModeSet(OperationMode.FORCE_STOP)],
            PersistedState(local_mode=OperationMode.FORCE_STOP),
        ),
        (
            [LocalModeSet(OperationMode.SOFT_STOP), LocalModeSet(OperationMode.UNSET)],
            PersistedState(local_mode=OperationMode.UNSET),
        ),
        (
            [GlobalModeSet(OperationMode.RUN, 1), GlobalModeSet(OperationMode.MANUAL, 2)],
            PersistedState(global_mode=OperationMode.MANUAL, global_mode_version=2),
        ),
        ([FaultsLatched((LEAK,))], PersistedState(latched=(LEAK,))),
        ([FaultsLatched((LEAK,)), FaultsLatched(())], PersistedState()),
        ([PolicyPrepared("a")], PersistedState(coming_policy_text="a")),
        ([PolicyPrepared("a"), PolicyAdopted("b")], PersistedState(policy_text="b")),
        ([DealOpened(FULL_DEAL)], PersistedState(open_deals={"d": FULL_DEAL})),
        (
            [DealOpened(FULL_DEAL), DealCounted(COUNTED), DealCounted(COUNTED_LATER)],
            PersistedState(open_deals={"d": FULL_DEAL}, counted={"d": COUNTED_LATER}),
        ),
        (
            [
                DealOpened(deal("a")),
                DealOpened(deal("b")),
                DealCounted(Receipt("a", 5.0, 4.0)),
                DealClosed(Receipt("a", 10.0, 9.0, "was enough")),
                DealClosed(Receipt("never opened", 0.0, 0.0)),
            ],
            PersistedState(open_deals={"b": deal("b")}),
        ),
    ],
)
def test_what_was_written_is_recalled_at_once_and_after_a_restart(path, entries, expected):
    journal = Journal(path)
    for number, entry in enumerate(entries):
        journal.write(entry, number)
    assert journal.recall() == expected
    journal.close()
    persisted_state = recalled(path)
    assert persisted_state == expected
    assert type(persisted_state.local_mode) is OperationMode
    for held in persisted_state.open_deals.values():
        assert (type(held.state), type(held.meter)) == (DealState, Meter)


def test_a_reopened_journal_is_written_on(path):
    for term in (1, 2, 3):
        journal = Journal(path)
        assert journal.recall().term == term - 1
        journal.write(LeaseGranted(term, f"E00{term}"), term)
        journal.close()
    assert recalled(path) == PersistedState(term=3, granted_to="E003")


def test_an_entry_is_on_disk_for_others_when_write_returns(path):
    journal = Journal(path)
    journal.write(LeaseGranted(5, "E002"), 123)
    other = sqlite3.connect(path)
    assert other.execute("SELECT stamp_ns, kind, body FROM entries").fetchall() == [
        (123, "LeaseGranted", '{"term": 5, "unit_id": "E002"}')
    ]
    other.close()
    journal.close()


# --- files that are no journal ---


def test_a_path_through_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    told = complaint(tmp_path / "file" / "journal.sqlite3")
    assert "cannot be used as a journal" in told
    assert told.endswith("it must be a writable file")


def test_a_folder(tmp_path):
    assert "cannot be used as a journal" in complaint(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_cannot_be_written(path):
    recalled(path)
    path.chmod(0o400)
    assert "cannot be used as a journal" in complaint(path)


def test_a_file_that_is_no_database(path):
    path.write_text("dear diary, today I sold 50 Wh\n" * 100)
    before = path.read_bytes()
    assert "file is not a database" in complaint(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("kind", "body", "told"),
    [
        ("Diary", "{}", "the kind must be one of LeaseGranted, LocalModeSet"),
        ("LeaseGranted", "no JSON", "Expecting value"),
        ("LeaseGranted", '{"term": 1}', "unit_id"),
        ("LeaseGranted", '{"term": 1, "unit_id": "E001", "mood": 1}', "mood"),
        ("LeaseGranted", "[1]", "list"),
        ("LocalModeSet", '{"mode": 9}', "9 is not a valid OperationMode"),
        ("GlobalModeSet", '{"mode": 1}', "version"),
        ("DealOpened", '{"deal": {}}', "meter"),
        ("DealOpened", '{"deal": 7}', "int"),
        ("DealClosed", '{"receipt": {"deal_id": "d"}}', "grid_moved_wh"),
        ("HourCounted", '{"hour": 3, "solar_wh": 1.0, "load_wh": 2.0}', "is_curtailed"),
    ],
)
def test_an_entry_that_is_not_ours(path, kind, body, told):
    journal = Journal(path)
    journal.write(LeaseGranted(1, "E002"), 0)
    journal.close()
    database = sqlite3.connect(path)
    database.execute("INSERT INTO entries (stamp_ns, kind, body) VALUES (0, ?, ?)", (kind, body))
    database.commit()
    database.close()
    line = complaint(path)
    assert f"entry 2 ({kind}) is not one of ours" in line
    assert told in line
    assert line.endswith("move the file away")


# --- the process dies ---

WRITER = """
import sys
from pathlib import Path
from apis_core.events import LeaseGranted
from apis_site.unit_journal import Journal, JournalError, read_receipts
journal = Journal(Path(sys.argv[1]))
term = journal.recall().term
while True:
    term += 1
    journal.write(LeaseGranted(term, "E002"), term)
    print(term, flush=True)
"""


def test_kill_9_loses_nothing_that_was_written(path):
    """What the writer said was on disk is there, in order, and the next process goes on."""
    told = 0
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line) >= told + 20:
                    break
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read().split()
            told = int(rest[-1] if rest else line)
        assert process.returncode == -signal.SIGKILL
        term = recalled(path).term
        assert told <= term <= told + 1  # it may have died between writing and saying so
        told = term
    database = sqlite3.connect(path)
    stamps = [row[0] for row in database.execute("SELECT stamp_ns FROM entries ORDER BY id")]
    database.close()
    assert stamps == list(range(1, told + 1))


def test_a_journal_that_cannot_be_written_says_why_and_then_that_it_can_be_again(path):
    journal = Journal(path)
    journal.write(LeaseGranted(1, "E001"), 1)
    journal.database.execute("PRAGMA query_only=ON")

    with pytest.raises(JournalError, match="attempt to write a readonly"):
        journal.write(LeaseGranted(2, "E001"), 2)
    with pytest.raises(JournalError):
        journal.try_out()
    journal.database.execute("PRAGMA query_only=OFF")
    journal.try_out()

    assert recalled(path).term == 1
    journal.close()


def test_a_journal_on_a_full_disk_says_so(path):
    journal = Journal(path)
    (pages,) = journal.database.execute("PRAGMA page_count").fetchone()
    journal.database.execute(f"PRAGMA max_page_count={pages}")

    with pytest.raises(JournalError, match="full"):
        journal.try_out()
    journal.close()


def test_receipts_are_read_from_a_journal_that_is_open(path, tmp_path):
    journal = Journal(path)
    journal.write(LocalModeSet(OperationMode.SOFT_STOP), 1)
    journal.write(DealClosed(Receipt("d", 104.0, 110.0, "why")), 2)

    assert read_receipts(path) == {"d": Receipt("d", 104.0, 110.0, "why")}
    assert read_receipts(tmp_path / "none.sqlite") == {}
    journal.close()


def test_a_file_that_is_no_journal_has_no_receipts_and_is_told(path):
    path.write_bytes(b"no journal" * 1000)
    with pytest.raises(ConfigError, match="is no journal of ours"):
        read_receipts(path)
