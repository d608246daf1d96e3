"""The operator's commands: roles, pace, audit log, schedules, emergency stop, by hand."""

from __future__ import annotations

import json
import time
from concurrent.futures import Future
from dataclasses import replace
from datetime import timezone
from pathlib import Path

import pytest

from apis_dashboard import audit as audit_module
from apis_dashboard import operator_commands as commands_module
from apis_dashboard.access import LOCAL, Identity, Role
from apis_dashboard.audit import Audit
from apis_dashboard.grid_source import (
    BreakKind,
    BreakWish,
    ConverterWish,
    DealWish,
    FaultWish,
    Outcome,
    Progress,
)
from apis_dashboard.history import History, Schedule
from apis_dashboard.manual_control import HOLD_S, ManualControl, Setting, Stage, why_not
from apis_dashboard.model import GridModel, GridView
from apis_dashboard.operator_commands import OperatorCommands
from apis_dashboard.order_log import ORDERS_PER_MINUTE, Refused
from apis_dashboard.records import (
    ConverterMode,
    ConverterRecord,
    FaultCategory,
    FaultExtent,
    FaultLevel,
    Mode,
    UnitRecord,
)
from apis_site.plan import GridPlan, Place
from apis_site.site import Site

IDS = ("E001", "E002", "E003")
OFF = ConverterMode.WAIT
HOLD = Setting(ConverterMode.VOLTAGE_REFERENCE, grid_voltage_v=350.0)
TAKE = Setting(ConverterMode.CHARGE, grid_current_a=1.0)
VIEWER = Identity("otto", Role.VIEWER)


class FakeGrid:
    """Remembers what it was told; converters do at once what they are told."""

    def __init__(self) -> None:
        self.mode = Mode.MANUAL
        self.modes = dict.fromkeys(IDS, OFF)
        self.bus_v = 2.0
        self.time_s = 1000.0
        self.told: list[object] = []
        self.refusal = ""
        self.deals: list[Future[Outcome]] = []

    @property
    def site(self) -> Site:
        places = [Place(unit_id, 0.0, 0.0) for unit_id in IDS]
        return Site("village", timezone.utc, GridPlan.of(places))

    def view(self) -> GridView:
        model = GridModel(IDS)
        for unit_id in IDS:
            converter = ConverterRecord(
                unit_id=unit_id, mode=self.modes[unit_id], grid_voltage_v=self.bus_v
            )
            status = UnitRecord(
                unit_id=unit_id,
                global_mode=self.mode,
                effective_mode=self.mode,
                converter=converter,
            )
            model.take(status, now_s=0.0)
        return model.view(now_s=0.0, ros_time_s=self.time_s)

    def set_mode(self, mode: Mode, unit_id: str = "") -> None:
        self.told.append((mode, unit_id))

    def order(self, wish: ConverterWish) -> Future[Outcome]:
        self.told.append(wish)
        future: Future[Outcome] = Future()
        if self.refusal and wish.mode is not OFF:
            future.set_result(Outcome(False, self.refusal))
        else:
            if wish.mode is not None:
                self.modes[wish.unit_id] = wish.mode
            future.set_result(Outcome(True, ""))
        return future

    def deal(self, wish: DealWish, progress: Progress) -> Future[Outcome]:
        self.told.append(wish)
        progress("d1")
        self.deals.append(Future())
        return self.deals[-1]

    def end_deal(self, deal_id: str) -> Future[Outcome]:
        raise NotImplementedError

    def report_fault(self, wish: FaultWish) -> None:
        self.told.append(wish)

    def break_hardware(self, wish: BreakWish) -> Future[Outcome]:
        self.told.append(wish)
        future: Future[Outcome] = Future()
        future.set_result(Outcome(not self.refusal, self.refusal or "broken: F1"))
        return future

    def repair(self, fault_id: str) -> Future[Outcome]:
        self.told.append(f"repair {fault_id}")
        future: Future[Outcome] = Future()
        future.set_result(Outcome(True, "repaired"))
        return future

    def broken(self) -> tuple[str, ...]:
        return ()

    def shut_down(self, unit_id: str) -> Future[Outcome]:
        raise NotImplementedError

    def set_log_level(self, unit_id: str, level: str) -> Future[Outcome]:
        raise NotImplementedError

    def flush(self) -> None:
        self.told.append("flush")

    def orders_to(self, mode: ConverterMode | None) -> list[str]:
        return [w.unit_id for w in self.told if isinstance(w, ConverterWish) and w.mode is mode]


@pytest.fixture
def grid() -> FakeGrid:
    return FakeGrid()


@pytest.fixture
def commands(grid: FakeGrid) -> OperatorCommands:
    return OperatorCommands(grid, History(None, timezone.utc), Audit(None))


class Clock:
    """In place of the module's time module."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(commands_module, "time", clock)
    return clock


def test_a_viewer_steers_nothing_and_that_is_written_down(
    grid: FakeGrid, commands: OperatorCommands
) -> None:
    for give in (
        lambda: commands.set_mode(VIEWER, Mode.RUN),
        lambda: commands.emergency_stop(VIEWER),
        lambda: commands.flush(VIEWER),
        lambda: commands.shut_down(VIEWER, IDS),
        lambda: commands.set_schedule(VIEWER, "", 2000.0),
        lambda: commands.start_manual_control(VIEWER, {"E001": HOLD}),
    ):
        with pytest.raises(Refused, match="takes the role"):
            give()
    assert grid.told == []
    assert {entry.outcome for entry in commands.audit.entries()} == {
        "refused: no operator",
        "refused: no maintainer",
    }


def test_a_session_that_was_closed_steers_nothing(
    grid: FakeGrid, commands: OperatorCommands
) -> None:
    commands.is_open = lambda who: who.session != "closed"
    with pytest.raises(Refused, match="log in"):
        commands.set_mode(Identity("anna", Role.OPERATOR, "closed"), Mode.RUN)
    commands.set_mode(Identity("anna", Role.OPERATOR, "open"), Mode.RUN)
    assert grid.told == [(Mode.RUN, "")]


def test_too_many_orders_are_refused_but_never_a_stop(
    grid: FakeGrid, commands: OperatorCommands
) -> None:
    for _ in range(ORDERS_PER_MINUTE):
        commands.flush(LOCAL)
    with pytest.raises(Refused, match="too many"):
        commands.flush(LOCAL)
    commands.emergency_stop(LOCAL)
    assert (Mode.FORCE_STOP, "") in grid.told


def test_the_audit_log_has_who_when_what_and_how_it_ended(tmp_path: Path, grid: FakeGrid) -> None:
    path = tmp_path / "audit.jsonl"
    commands = OperatorCommands(grid, History(None, timezone.utc), Audit(path))
    anna = Identity("anna", Role.OPERATOR)
    commands.deal(anna, DealWish(giver_id="E001", taker_id="E002", energy_wh=50.0))
    assert commands.orders()[0].text == "under way as d1"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["who"], line["what"]) for line in lines] == [
        ("anna", "deal E001 → E002: 50 Wh, no price")
    ]
    grid.deals[0].set_result(Outcome(False, "E002 has no slot (402)"))
    last = json.loads(path.read_text().splitlines()[-1])
    assert last["outcome"] == "refused: E002 has no slot (402)"
    assert last["when"].endswith("+00:00")
    order = commands.orders()[0]
    assert (order.is_over, order.is_done, order.text) == (True, False, "E002 has no slot (402)")
    assert Audit(path).entries()[0].outcome == last["outcome"], "read again after a restart"


def test_the_audit_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "LARGEST_BYTES", 500)
    path = tmp_path / "audit.jsonl"
    audit = Audit(path)
    for number in range(50):
        audit.note("anna", f"order {number}")
    assert path.stat().st_size < 700
    assert (tmp_path / "audit.jsonl.1").stat().st_size < 700


def test_a_schedule_fires_once_when_its_time_has_come(
    grid: FakeGrid, commands: OperatorCommands
) -> None:
    grid.mode = Mode.RUN
    with pytest.raises(Refused, match="ahead"):
        commands.set_schedule(LOCAL, "", 999.0)
    commands.set_schedule(LOCAL, "", 1500.0)
    commands.set_schedule(LOCAL, "E002", 1400.0)
    commands.keep_schedules(grid.view())
    assert grid.told == []
    grid.time_s = 1600.0
    commands.keep_schedules(grid.view())
    commands.keep_schedules(grid.view())
    assert grid.told == [(Mode.SOFT_STOP, "E002"), (Mode.SOFT_STOP, "")]
    assert commands.history.schedules() == []


def test_a_schedule_that_nobody_kept_for_days_or_nobody_needs_does_not_fire(
    grid: FakeGrid, commands: OperatorCommands
) -> None:
    commands.history.set_schedule(Schedule("", 1500.0, "anna"))
    grid.time_s, grid.mode = 1500.0 + 2 * 86_400.0, Mode.RUN
    commands.keep_schedules(grid.view())
    commands.history.set_schedule(Schedule("", grid.time_s, "anna"))
    grid.mode = Mode.FORCE_STOP
    commands.keep_schedules(grid.view())
    assert grid.told == []
    assert [entry.outcome.split(":")[0] for entry in commands.audit.entries()] == [
        "not needed",
        "missed",
    ]


def test_an_emergency_stop_takes_the_currents_first_and_needs_no_grid_master(
    grid: FakeGrid, commands: OperatorCommands, clock: Clock
) -> None:
    grid.modes |= {"E001": ConverterMode.DISCHARGE, "E002": ConverterMode.VOLTAGE_REFERENCE}
    commands.emergency_stop(LOCAL)
    assert grid.told[0] == (Mode.FORCE_STOP, "")
    assert grid.orders_to(OFF) == ["E001", "E003"]
    commands.tick()
    assert "E002" not in grid.orders_to(OFF)
    clock.now_s += 1.1
    commands.tick()
    assert grid.orders_to(OFF) == ["E001", "E003", "E002"]
    assert commands.stop_order is not None
    assert commands.stop_order.replies == dict.fromkeys(IDS, "off")


def test_manual_control_the_voltage_comes_first_and_goes_last(
    grid: FakeGrid, commands: OperatorCommands, clock: Clock
) -> None:
    commands.start_manual_control(LOCAL, {"E001": HOLD, "E002": TAKE, "E003": Setting(OFF)})
    assert grid.orders_to(HOLD.mode) == ["E001"]
    assert grid.orders_to(TAKE.mode) == []
    commands.tick()
    grid.bus_v = 350.0
    commands.tick()
    assert grid.orders_to(TAKE.mode) == ["E002"]
    assert all(w.hold_s == HOLD_S for w in grid.told if isinstance(w, ConverterWish))
    clock.now_s += 0.6
    commands.renew_manual_control()
    commands.tick()
    assert grid.orders_to(None) == ["E001", "E002"], "both are renewed"
    commands.stop_manual_control()
    assert grid.orders_to(OFF) == ["E002"]
    commands.tick()
    assert grid.orders_to(OFF)[-2:] == ["E001", "E002"]
    assert commands.manual_control.stage is Stage.IDLE


@pytest.mark.parametrize("cause", ["silence", "mode", "refusal"])
def test_manual_control_whatever_goes_wrong_switches_off(
    grid: FakeGrid, commands: OperatorCommands, clock: Clock, cause: str
) -> None:
    commands.start_manual_control(LOCAL, {"E001": HOLD, "E002": TAKE})
    if cause == "silence":  # the browser is gone, or the network
        clock.now_s += 1.1
    elif cause == "mode":
        grid.mode = Mode.FORCE_STOP
    else:
        grid.bus_v, grid.refusal = 350.0, "the battery is full (103)"
    limit_s = time.monotonic() + 10.0  # a refusal is heard by a thread of its own
    while commands.manual_control.stage is not Stage.IDLE and time.monotonic() < limit_s:
        commands.tick()
    assert commands.manual_control.stage is Stage.IDLE
    assert grid.modes["E001"] is OFF
    assert grid.modes["E002"] is OFF
    assert commands.manual_control.reason


def test_manual_control_a_bus_that_does_not_come_up_ends_it(
    grid: FakeGrid, commands: OperatorCommands, clock: Clock
) -> None:
    commands.start_manual_control(LOCAL, {"E001": HOLD, "E002": TAKE})
    clock.now_s += 4.0
    grid.time_s += 61.0
    commands.renew_manual_control()
    commands.tick()
    commands.tick()
    assert commands.manual_control.reason == "the bus voltage does not come up"
    assert grid.modes["E001"] is OFF


def test_manual_control_what_is_forbidden_is_named_before(grid: FakeGrid) -> None:
    def reasons(**settings: Setting) -> str:
        return " ".join(why_not(settings, grid.view(), grid.site))

    assert reasons(E001=HOLD, E002=TAKE) == ""
    assert "No converter is chosen" in reasons(E001=Setting(OFF))
    assert "Exactly one" in reasons(E001=TAKE)
    assert "Exactly one" in reasons(E001=HOLD, E002=HOLD)
    assert "320 to 380 V" in reasons(E001=replace(HOLD, grid_voltage_v=500.0))
    assert "above 0" in reasons(E001=HOLD, E002=replace(TAKE, grid_current_a=None))
    grid.bus_v = 350.0
    assert "another source holds it" in reasons(E001=HOLD)
    grid.bus_v, grid.mode = 2.0, Mode.RUN
    assert "not in Manual" in reasons(E001=HOLD)


def test_manual_control_only_one_at_a_time(
    grid: FakeGrid, commands: OperatorCommands, clock: Clock
) -> None:
    commands.start_manual_control(Identity("anna", Role.MAINTAINER), {"E001": HOLD})
    with pytest.raises(Refused, match="anna is at it"):
        commands.start_manual_control(LOCAL, {"E001": HOLD})


def test_letting_go_of_nothing_orders_nothing(grid: FakeGrid) -> None:
    assert ManualControl().stop(grid.view(), 0.0) == []


def test_hardware_that_is_broken_by_hand_is_an_order_like_any_other(
    commands: OperatorCommands, grid: FakeGrid
) -> None:
    wish = BreakWish(
        kind=BreakKind.SENSOR_OFFSET,
        unit_id="E002",
        quantity="grid_current_a",
        value=0.2,
        duration_s=600.0,
    )
    commands.break_hardware(LOCAL, wish)
    commands.repair(LOCAL, "F1")
    assert grid.told == [wish, "repair F1"]
    repaired, broken = commands.orders()[:2]
    words = "break Sensor reads wrong: E002, Bus current 0.20 A too high, for 10 min 00 s"
    assert (broken.what, broken.text, broken.is_done) == (words, "broken: F1", True)
    assert repaired.what == "repair F1"
    grid.refusal = "fault.other_unit: there is no line E001-E003 (701)"
    line = BreakWish(kind=BreakKind.LINE_BREAK, unit_id="E001", other_unit_id="E003")
    commands.break_hardware(LOCAL, line)
    order = commands.orders()[0]
    assert (order.what, order.is_done) == ("break Line breaks: E001–E003", False)
    assert "no line" in order.text
    with pytest.raises(Refused):
        commands.break_hardware(VIEWER, line)


def test_operating_is_not_maintaining(commands: OperatorCommands, grid: FakeGrid) -> None:
    operator = Identity("anna", Role.OPERATOR)
    fault = FaultWish(
        unit_id="E001",
        category=FaultCategory.USER,
        extent=FaultExtent.LOCAL,
        level=FaultLevel.WARN,
        message="m",
    )
    broken = BreakWish(kind=BreakKind.STUCK_CONVERTER, unit_id="E001")
    settings = {"E001": HOLD, "E002": TAKE}
    for forbidden in (
        lambda: commands.start_manual_control(operator, settings),
        lambda: commands.shut_down(operator, IDS),
        lambda: commands.set_log_level(operator, IDS, "debug"),
        lambda: commands.report_fault(operator, fault),
        lambda: commands.break_hardware(operator, broken),
        lambda: commands.repair(operator, ""),
    ):
        with pytest.raises(Refused, match="takes the role maintainer"):
            forbidden()
    assert grid.told == []
    assert commands.audit.entries()[0].outcome == "refused: no maintainer"
    commands.set_mode(operator, Mode.MANUAL)
    commands.emergency_stop(operator)
    commands.start_manual_control(LOCAL, settings)
