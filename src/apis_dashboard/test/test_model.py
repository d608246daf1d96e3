"""The view model, without ROS and without a browser."""

from __future__ import annotations

from dataclasses import replace

import pytest

from apis_core.config.timing import ORDER_PATIENCE_S, SILENT_AFTER_S
from apis_dashboard.model import PAST_DEALS, GridModel, GridView
from apis_dashboard.records import (
    BusRecord,
    ConverterMode,
    ConverterRecord,
    DealRecord,
    DealState,
    FaultLevel,
    FaultRecord,
    HouseRecord,
    Mode,
    ModeOrder,
    Record,
    UnitRecord,
)

IDS = ("E001", "E002")
DEAL = DealRecord(
    deal_id="d1",
    term=2,
    sequence=5,
    state=DealState.RUNNING,
    discharge_unit_id="E001",
    charge_unit_id="E002",
    energy_wh=120.0,
    current_a=1.5,
    moved_wh=30.0,
)


def look(*records: Record, at_s: float = 0.0) -> GridView:
    """Feed a fresh model at second 0 and look at it at ``at_s``."""
    model = GridModel(IDS)
    for record in records:
        model.take(record, now_s=0.0)
    return model.view(now_s=at_s, ros_time_s=None)


def status(unit_id: str, mode: Mode = Mode.RUN, **more: object) -> UnitRecord:
    return replace(UnitRecord(unit_id=unit_id, global_mode=mode, effective_mode=mode), **more)


def test_before_anybody_speaks_every_unit_is_listed_and_nothing_is_invented() -> None:
    view = look()
    assert [unit.unit_id for unit in view.units] == list(IDS)
    assert not any(unit.is_present for unit in view.units)
    assert view.bus.voltage_v is None
    assert view.bus.transported_w is None
    assert view.mode.reported is None
    assert view.grid_master_id is None


def test_readings_of_a_unit_come_together() -> None:
    converter = ConverterRecord(unit_id="E001", mode=ConverterMode.CHARGE, grid_current_a=1.5)
    house = HouseRecord(unit_id="E001", solar_w=900.0)
    unit = look(status("E001", soc_ratio=0.4), converter, house).units[0]
    assert unit.is_present
    assert unit.status is not None
    assert unit.status.soc_ratio == 0.4
    assert unit.converter == converter
    assert unit.house == house


def test_the_converter_inside_a_status_is_shown_where_no_other_reading_is() -> None:
    converter = ConverterRecord(unit_id="E001", mode=ConverterMode.WAIT)
    assert look(status("E001", converter=converter)).units[0].converter == converter


def test_an_older_reading_inside_a_status_does_not_turn_the_counters_back() -> None:
    old, new = (ConverterRecord(unit_id="E001", grid_charged_wh=wh) for wh in (99.0, 100.0))
    view = look(status("E001", converter=old), new, status("E001", converter=old))
    assert view.units[0].converter == new


def test_a_house_is_integrated_from_reading_to_reading_and_not_over_a_silence() -> None:
    model = GridModel(IDS)
    for at_s, solar_w in ((100.0, 0.0), (136.0, 1000.0), (172.0, 1000.0), (2000.0, 1000.0)):
        house = HouseRecord(unit_id="E001", solar_w=solar_w, load_w=None, stamp_s=at_s)
        model.take(house, now_s=0.0)
    energy = model.view(now_s=0.0, ros_time_s=None).units[0].house_wh
    assert energy is not None
    assert energy.solar_wh == pytest.approx(5.0 + 10.0)
    assert energy.load_wh == 0.0


def test_a_unit_that_the_grid_does_not_name_is_dropped() -> None:
    view = look(status("E099"), HouseRecord(unit_id="E099"))
    assert [unit.unit_id for unit in view.units] == list(IDS)


@pytest.mark.parametrize(
    ("age_s", "silent"), [(SILENT_AFTER_S, False), (SILENT_AFTER_S + 1.0, True)]
)
def test_a_unit_is_silent_after_a_while(age_s: float, silent: bool) -> None:
    unit = look(status("E001"), at_s=age_s).units[0]
    assert unit.silent_s == (age_s if silent else None)
    assert unit.is_present is not silent


def test_slower_than_real_time_silence_takes_longer() -> None:
    slow = BusRecord(
        voltage_v=0.0,
        transported_power_w=0.0,
        line_loss_w=0.0,
        voltage_reference_ids=(),
        speed=0.5,
    )
    assert look(slow, status("E001"), at_s=1.5 * SILENT_AFTER_S).units[0].is_present


def test_the_bus_is_what_the_emulator_says() -> None:
    bus = BusRecord(
        voltage_v=350.0,
        transported_power_w=525.0,
        line_loss_w=3.0,
        voltage_reference_ids=("E002",),
        speed=20.0,
    )
    view = look(bus)
    assert (view.bus.voltage_v, view.bus.transported_w) == (350.0, 525.0)
    assert view.bus.voltage_reference_ids == ("E002",)
    assert view.speed == 20.0


def test_without_an_emulator_the_bus_is_put_together_from_the_converters() -> None:
    holder = ConverterRecord(
        unit_id="E001",
        mode=ConverterMode.VOLTAGE_REFERENCE,
        grid_voltage_v=350.2,
        grid_power_w=-525.0,
    )
    taker = ConverterRecord(
        unit_id="E002", mode=ConverterMode.CHARGE, grid_voltage_v=349.0, grid_power_w=520.0
    )
    bus = look(status("E001", converter=holder), status("E002", converter=taker)).bus
    assert bus.voltage_v == 350.2
    assert bus.transported_w == 525.0
    assert bus.voltage_reference_ids == ("E001",)


def test_the_mode_is_what_all_units_report() -> None:
    assert look(status("E001"), status("E002")).mode.reported is Mode.RUN
    assert look(status("E001"), status("E002", Mode.MANUAL)).mode.reported is None


def test_a_mode_is_wanted_until_every_unit_reports_it() -> None:
    order = ModeOrder(mode=Mode.SOFT_STOP)
    before = look(status("E001"), status("E002"), order).mode
    assert (before.reported, before.wanted, before.waiting_for) == (Mode.RUN, Mode.SOFT_STOP, IDS)
    half = look(status("E001"), status("E002"), order, status("E001", Mode.SOFT_STOP)).mode
    assert (half.reported, half.waiting_for) == (None, ("E002",))
    done = look(order, status("E001", Mode.SOFT_STOP), status("E002", Mode.SOFT_STOP)).mode
    assert (done.reported, done.wanted) == (Mode.SOFT_STOP, None)


def test_an_order_that_was_followed_is_forgotten() -> None:
    orders = (
        ModeOrder(mode=Mode.SOFT_STOP),
        status("E001", Mode.SOFT_STOP),
        status("E002", Mode.SOFT_STOP),
    )
    later = look(*orders, status("E001"), status("E002")).mode
    assert (later.reported, later.wanted) == (Mode.RUN, None)


def test_units_that_do_not_follow_are_overdue_and_silent_ones_are_named() -> None:
    model = GridModel(IDS)
    model.take(status("E001"), now_s=0.0)
    model.take(ModeOrder(mode=Mode.FORCE_STOP), now_s=0.0)
    model.take(status("E001"), now_s=ORDER_PATIENCE_S)
    mode = model.view(now_s=ORDER_PATIENCE_S + 1.0, ros_time_s=None).mode
    assert mode.is_overdue
    assert mode.waiting_for == ("E001",)
    assert mode.silent == ("E002",)


def test_a_local_order_does_not_move_the_global_switch() -> None:
    assert look(status("E001"), ModeOrder(mode=Mode.SOFT_STOP, unit_id="E001")).mode.wanted is None


def test_2_3_a_late_record_of_a_deal_does_not_turn_it_back() -> None:
    late = replace(DEAL, sequence=4, moved_wh=20.0)
    assert look(DEAL, late).running == (DEAL,)
    newer_term = replace(DEAL, term=3, sequence=1, moved_wh=31.0)
    assert look(DEAL, newer_term).running == (newer_term,)


def test_the_states_of_a_deal_are_kept_with_their_times() -> None:
    def told(state: DealState, at_s: float) -> DealRecord:
        return replace(DEAL, sequence=int(at_s), state=state, stamp_s=at_s)

    deal = look(
        told(DealState.QUEUED, 10.0),
        told(DealState.RAMPING_UP, 12.0),
        told(DealState.RUNNING, 50.0),
        told(DealState.RUNNING, 60.0),
        told(DealState.RAMPING_UP, 13.0),
    ).running[0]
    assert deal.steps == (
        (DealState.QUEUED, 10.0),
        (DealState.RAMPING_UP, 12.0),
        (DealState.RUNNING, 50.0),
    )


def test_a_deal_that_is_over_is_past() -> None:
    view = look(DEAL, replace(DEAL, sequence=6, state=DealState.COMPLETED))
    assert view.running == ()
    assert [deal.state for deal in view.past] == [DealState.COMPLETED]


def test_the_past_is_bounded_and_the_newest_comes_first() -> None:
    over = [
        replace(DEAL, deal_id=f"d{i}", state=DealState.ABORTED, created_at_s=float(i))
        for i in range(1, 300)
    ]
    past = look(*over).past
    assert len(past) == PAST_DEALS
    assert past[0].deal_id == "d299"


def test_a_fault_is_present_as_long_as_its_unit_says_so() -> None:
    fault = FaultRecord(unit_id="E001", level=FaultLevel.ERROR, code="hot", message="too hot")
    present = look(fault, status("E001", fault_codes=("hot",))).events[0]
    assert (present.text, present.level, present.is_present) == ("too hot", FaultLevel.ERROR, True)
    assert not look(fault, status("E001")).events[0].is_present


def test_the_grid_master_of_the_newest_term_is_shown() -> None:
    old, new = (
        status("E001", is_grid_master=True, term=3),
        status("E002", is_grid_master=True, term=4),
    )
    view = look(old, new, old)
    assert (view.grid_master_id, view.term) == ("E002", 4)
    gone = look(new, status("E002", term=4))
    assert (gone.grid_master_id, gone.term) == (None, 4)


def test_the_first_event_has_a_time_though_no_clock_has_been_heard() -> None:
    leads = status("E001", is_grid_master=True, term=1, stamp_s=1_000.0)
    assert [event.stamp_s for event in look(leads).events] == [1_000.0]


def test_a_unit_that_was_started_again_is_an_event_told_once() -> None:
    first = status("E001", instance_id="one", stamp_s=5.0)
    again = status("E001", instance_id="two", stamp_s=9.0)

    assert look(first, first).events == ()
    # also if the old one is heard once more: two may use one name
    events = look(first, again, first, again).events
    assert [(e.unit_id, e.text, e.stamp_s) for e in events] == [("E001", "was started again", 9.0)]
