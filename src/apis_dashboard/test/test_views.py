"""The words and numbers on the page."""

from __future__ import annotations

import json
from datetime import timedelta, timezone

import pytest
from fake_grid import FakeGrid

from apis_dashboard import formatting
from apis_dashboard.charts import price_chart
from apis_dashboard.confirm import (
    break_question,
    fault_question,
    local_mode_question,
    mode_question,
    shutdown_question,
)
from apis_dashboard.grid_source import BreakKind, BreakWish, FaultWish
from apis_dashboard.history import Series
from apis_dashboard.model import Event, GridModel
from apis_dashboard.records import (
    BusRecord,
    ConverterMode,
    ConverterRecord,
    DealRecord,
    DealState,
    FaultCategory,
    FaultExtent,
    FaultLevel,
    Mode,
    UnitRecord,
)
from apis_dashboard.views.deals import deal_state, deals_total
from apis_dashboard.views.events import event_state
from apis_dashboard.views.grid import grid_frame, plan_state, summary_state
from apis_dashboard.views.header import header_state
from apis_dashboard.views.unit import bands_state, meters_state
from apis_dashboard.views.units import unit_state
from apis_site.plan import GridPlan, Place

ZONE = timezone(timedelta(hours=9))
NOON_S = 1_750_474_800.0  # 2025-06-21 12:00:00 at the place


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (formatting.power(None), "–"),
        (formatting.power(-0.2), "0 W"),
        (formatting.power(-525.0), "−525 W"),
        (formatting.power(999.7), "1.00 kW"),
        (formatting.energy(2762.4), "2,762 Wh"),
        (formatting.energy(12_345.0), "12.3 kWh"),
        (formatting.percent(0.584), "58 %"),
        (formatting.amount(1.5, "A", 2), "1.50 A"),
        (formatting.duration(None), "–"),
        (formatting.duration(59.6), "1 min 00 s"),
        (formatting.duration(3_700.0), "1 h 01 min"),
        (formatting.duration(90_000.0), "1 d 1 h"),
        (formatting.date_time(NOON_S, ZONE), "Sat 21 Jun 2025, 12:00:00"),
        (formatting.clock_time(None, ZONE), "–"),
    ],
)
def test_numbers_are_written_for_people(written: str, expected: str) -> None:
    assert written == expected


@pytest.mark.parametrize(
    ("words", "kind"),
    [(formatting.MODE_WORDS, Mode), (formatting.DEAL_WORDS, DealState)],
)
def test_every_state_has_a_word(words: dict[object, str], kind: type) -> None:
    assert set(words) == set(kind)


def test_an_empty_grid_says_that_it_waits() -> None:
    view = GridModel(["E001"]).view(now_s=0.0, ros_time_s=None)
    header = header_state(view, ZONE)
    assert header["time"] == "waiting for a clock…"
    assert header["mode"] == {
        "reported": "",
        "wanted": "",
        "overdue": False,
        "note": "waiting for the units…",
    }
    assert unit_state(view.units[0], view)["note"] == "not heard of yet"
    notes = {tile["name"]: tile["note"] for tile in summary_state(view)["tiles"]}
    assert (notes["Units"], notes["Bus voltage"]) == ("waiting…", "not known yet")


def test_a_silent_unit_says_for_how_long_and_its_values_are_marked_as_old() -> None:
    model = GridModel(["E001"])
    model.take(UnitRecord(unit_id="E001", not_dealing_reason="battery is full"), now_s=0.0)
    view = model.view(now_s=1.0, ros_time_s=None)
    assert unit_state(view.units[0], view)["note"] == "battery is full"
    assert meters_state(view.units[0], view)["cards"][0][0]["age"] == {
        "text": "now",
        "stale": False,
    }
    view = model.view(now_s=75.0, ros_time_s=None)
    assert unit_state(view.units[0], view)["note"] == "silent for 1 min 15 s"
    meters = meters_state(view.units[0], view)
    assert meters["cards"][0][0]["age"] == {"text": "1 min 15 s ago", "stale": True}
    assert meters["cards"][1][0]["age"] == {"text": "never heard", "stale": True}


def running(**changes: object) -> DealRecord:
    values: dict[str, object] = {
        "deal_id": "d",
        "term": 1,
        "sequence": 1,
        "state": DealState.RUNNING,
        "discharge_unit_id": "E001",
        "charge_unit_id": "E002",
        "energy_wh": 120.0,
        "current_a": 1.5,
        "moved_wh": 30.0,
        "created_at_s": NOON_S - 155.0,
        "started_at_s": NOON_S - 95.0,
    }
    return DealRecord(**values | changes)  # type: ignore[arg-type]


def test_a_deal_shows_its_progress_how_long_it_runs_and_how_long_it_will() -> None:
    shown = deal_state(running(), NOON_S, ZONE)
    assert (shown["moved"], shown["agreed"], shown["percent"]) == ("30.0 Wh", "120 Wh", "25 %")
    assert (shown["ran"], shown["price"], shown["state"]) == ("1 min 35 s", "–", "energy flows")
    assert shown["left"] == "about 4 min 45 s left"


def test_a_receipt_has_the_losses_the_price_and_the_phases() -> None:
    over = running(
        state=DealState.COMPLETED,
        moved_wh=120.0,
        sent_wh=125.0,
        received_wh=119.5,
        price_point_per_wh=10.0,
        stopped_at_s=NOON_S + 85.0,
        ended_at_s=NOON_S + 145.0,
    )
    shown = deal_state(over, NOON_S + 999.0, ZONE)
    assert (shown["lost"], shown["points"], shown["left"]) == ("5.5 Wh", "1,200 pt", "")
    assert [(p["name"], p["took"], p["part"]) for p in shown["phases"]] == [
        ("getting ready", "1 min 00 s", 0.2),
        ("energy flows", "3 min 00 s", 0.6),
        ("closing the books", "1 min 00 s", 0.2),
    ]


def test_a_deal_that_was_followed_shows_every_state_that_it_was_in() -> None:
    steps = (
        (DealState.QUEUED, NOON_S - 155.0),
        (DealState.RAMPING_UP, NOON_S - 145.0),
        (DealState.RUNNING, NOON_S - 95.0),
    )
    shown = deal_state(running(steps=steps), NOON_S, ZONE)["phases"]
    assert [(p["kind"], p["name"], p["took"]) for p in shown] == [
        ("queued", "agreed, waits for its turn", "10 s"),
        ("ramping_up", "raising the bus voltage", "50 s"),
        ("running", "energy flows", "1 min 35 s"),
    ]


def reading(unit_id: str, volts: float, amps: float, mode: ConverterMode) -> UnitRecord:
    converter = ConverterRecord(
        unit_id=unit_id,
        mode=mode,
        grid_voltage_v=volts,
        grid_current_a=amps,
        grid_power_w=volts * amps,
        grid_current_setpoint_a=abs(amps),
    )
    return UnitRecord(unit_id=unit_id, soc_ratio=0.5, converter=converter)


def test_lines_show_what_flows_along_them_and_the_voltage_lost_on_the_way() -> None:
    model = GridModel(["E001", "E002", "E003"])
    for record in (
        reading("E001", 351.0, -2.0, ConverterMode.DISCHARGE),
        reading("E002", 350.5, 0.0, ConverterMode.WAIT),
        reading("E003", 350.0, 2.0, ConverterMode.VOLTAGE_REFERENCE),
    ):
        model.take(record, now_s=0.0)
    view = model.view(now_s=0.0, ros_time_s=NOON_S)
    plan = GridPlan.of([Place(f"E00{i}", 10.0 * i, 0.0) for i in (1, 2, 3)])
    frame = grid_frame(view, plan, ZONE)
    assert frame["lines"] == [[2.0, 700, 0.5], [2.0, 700, 0.5]]
    assert frame["bus"]["up"]
    assert frame["units"]["E003"][3:5] == [700, 350.0]
    assert [line["id"] for line in plan_state(plan)["lines"]] == ["E001–E002", "E002–E003"]


def test_orders_stand_beside_what_was_read() -> None:
    model = GridModel(["E001"])
    model.take(reading("E001", 351.0, -1.9, ConverterMode.DISCHARGE), now_s=0.0)
    view = model.view(now_s=0.0, ros_time_s=NOON_S)
    rows = {row["name"]: row for row in meters_state(view.units[0], view)["converter"]["rows"]}
    assert rows["Current from the bus"]["order"] == "−1.90 A"
    assert rows["Bus voltage"] == {"name": "Bus voltage", "order": "", "reading": "351.0 V"}


def test_the_band_says_what_the_unit_does_in_it() -> None:
    source = FakeGrid(units=4)
    view = source.view()
    unit = next(u for u in view.units if u.status and u.status.battery_band == "excess")
    shown = bands_state(unit, source.site, view.ros_time_s)
    assert [band["name"] for band in shown["sections"][0]["bands"]] == [
        "short",
        "scarce",
        "sufficient",
        "excess",
    ]
    assert shown["rules"] == [
        "asks to give down to 3,600 Wh at 8 pt/Wh",
        "answers to give down to 2,880 Wh at 8 pt/Wh",
    ]


def test_what_does_harm_is_asked_again_with_the_deals_that_it_ends() -> None:
    source = FakeGrid(units=4)
    view = source.view()
    assert view.running, "the village has a deal under way"
    giver = view.running[0].discharge_unit_id
    pair = f"{giver} → {view.running[0].charge_unit_id}"
    for mode in (Mode.FORCE_STOP, Mode.MANUAL):
        question = mode_question(mode, view)
        assert question is not None
        assert pair in question.consequences[0]
    assert mode_question(Mode.RUN, view) is None
    assert mode_question(Mode.SOFT_STOP, view) is None
    local = local_mode_question(Mode.FORCE_STOP, giver, view)
    assert local is not None
    assert pair in local.consequences[0]
    assert local_mode_question(Mode.UNSET, giver, view) is None


def test_a_shutdown_names_whom_it_ends_and_must_be_typed() -> None:
    view = FakeGrid(units=4).view()
    everybody = shutdown_question(("E001", "E002", "E003", "E004"), view)
    assert (everybody.title, everybody.type_to_confirm) == ("Shut down the whole cluster?", "all")
    assert "E001, E002, E003, E004" in everybody.consequences[0]
    assert shutdown_question(("E003",), view).type_to_confirm == "E003"


def test_a_fault_by_hand_says_whom_it_stops() -> None:
    def follows(extent: FaultExtent, level: FaultLevel) -> str:
        wish = FaultWish(
            unit_id="E001",
            category=FaultCategory.HARDWARE,
            extent=extent,
            level=level,
            message="m",
        )
        return fault_question(wish).consequences[1]

    assert "nothing" in follows(FaultExtent.LOCAL, FaultLevel.WARN)
    words = "What follows: E001 makes no new deals for a while, its deals end."
    assert follows(FaultExtent.LOCAL, FaultLevel.ERROR) == words
    assert "nobody makes new deals" in follows(FaultExtent.GLOBAL, FaultLevel.FATAL)
    assert "the cluster goes to Force stop" in follows(FaultExtent.GLOBAL, FaultLevel.FATAL)


def test_a_fault_says_what_the_units_do_about_it() -> None:
    event = Event(
        text="71 °C",
        unit_id="E001",
        level=FaultLevel.FATAL,
        code="converter_too_hot",
        category=FaultCategory.HARDWARE,
        extent=FaultExtent.LOCAL,
    )
    follows = event_state(event, ZONE)["follows"]
    assert follows.startswith("E001 makes no new deals for a while, its deals end")
    assert follows.endswith("it goes to Force stop")
    assert event_state(Event(text="is the grid master"), ZONE)["follows"] == ""


def test_hardware_breaks_after_a_question_that_says_what_follows() -> None:
    view = FakeGrid(units=4).view()
    deal = view.running[0]
    lost = BreakWish(kind=BreakKind.LOST_COMMUNICATION, unit_id=deal.charge_unit_id)
    question = break_question(lost, view)
    assert question.title == f"Communication is lost: {deal.charge_unit_id}?"
    assert any("an emergency stop neither" in words for words in question.consequences)
    pair = f"{deal.discharge_unit_id} → {deal.charge_unit_id}"
    assert f"Deals under way there: {pair}." in question.consequences


def test_prices_break_where_a_unit_named_none_for_long() -> None:
    t = (0.0, 600.0, 1200.0, 9000.0)
    series = Series(t, {"asked_pt": (8.0, None, 9.0, 10.0), "offered_pt": (None,) * 4})
    chart = price_chart(series, [], zone=timezone.utc, span=(0.0, 9000.0))
    asked, offered, dealt = (part["data"] for part in chart["series"])
    assert [value for _, value in asked] == [8.0, 9.0, None, 10.0]
    assert (offered, dealt) == ([], [])


def test_past_deals_are_summed_up() -> None:
    one = DealRecord(
        deal_id="d",
        term=1,
        sequence=1,
        state=DealState.COMPLETED,
        discharge_unit_id="E001",
        charge_unit_id="E002",
        energy_wh=100.0,
        current_a=1.0,
        price_point_per_wh=10.0,
        moved_wh=100.0,
        sent_wh=104.0,
        received_wh=100.0,
    )
    assert deals_total([]) == ""
    assert deals_total([one, one]) == "200 Wh moved, 8 Wh lost, 2,000 pt"


def test_a_clock_that_stands_still_is_not_shown_as_running() -> None:
    model = GridModel(["E001"])
    bus = BusRecord(
        voltage_v=350.0,
        transported_power_w=0.0,
        line_loss_w=0.0,
        voltage_reference_ids=(),
        speed=20.0,
    )
    model.take(bus, now_s=100.0)
    assert header_state(model.view(now_s=101.0, ros_time_s=NOON_S), ZONE)["speed"] == (
        "20 × real time"
    )
    late = model.view(now_s=130.0, ros_time_s=NOON_S)
    header = header_state(late, ZONE)
    assert (header["speed"], header["stale"]) == ("emulator silent for 30 s", True)
    assert late.bus.voltage_v is None, "nobody knows it any more"


def test_what_is_sent_twice_a_second_is_json_and_small_with_a_hundred_units() -> None:
    source = FakeGrid(units=100, warm_up_s=600.0)
    frame = grid_frame(source.view(), source.site.plan, source.site.zone)
    assert len(json.dumps(frame)) < 20_000  # [bytes], were everything to change at once


def test_a_cell_of_the_table_is_no_formula() -> None:
    assert formatting.harmless("=HYPERLINK(1)") == "'=HYPERLINK(1)"
    assert formatting.harmless("E001 no longer renews") == "E001 no longer renews"
