from dataclasses import replace

import pytest

from apis_core.cluster.fault_registry import FaultRegistry
from apis_core.model.messages import Fault
from apis_core.model.types import FaultCategory, FaultExtent, FaultLevel
from apis_core.model.units import NEVER_NS

LOCAL, GLOBAL, NOWHERE = FaultExtent.LOCAL, FaultExtent.GLOBAL, FaultExtent.UNKNOWN
LOCAL_NS, GLOBAL_NS = 30, 100


def book():
    return FaultRegistry("E001", LOCAL_NS, GLOBAL_NS)


def fault(code="trip", unit_id="E001", extent=LOCAL, level=FaultLevel.ERROR):
    return Fault(
        unit_id=unit_id,
        reporter_id="E002",
        category=FaultCategory.USER,  # HARDWARE GLOBAL would stay at once
        extent=extent,
        level=level,
        code=code,
        message="something went wrong",
    )


def test_an_empty_book():
    faults = book()
    faults.tick(10**18)
    assert (faults.why_not(), faults.codes(), faults.wake_ns) == ("", (), NEVER_NS)


@pytest.mark.parametrize(
    ("unit_id", "extent", "concerns_us"),
    [
        ("E001", LOCAL, True),
        ("E002", LOCAL, False),
        ("E001", GLOBAL, True),
        ("E002", GLOBAL, True),
        ("E002", NOWHERE, True),  # when in doubt it concerns all
    ],
)
@pytest.mark.parametrize("level", [FaultLevel.ERROR, FaultLevel.FATAL, FaultLevel.UNKNOWN])
def test_11_whom_a_fault_keeps_from_new_deals(unit_id, extent, concerns_us, level):
    faults = book()
    assert faults.add(fault("trip", unit_id, extent, level), 0)
    assert faults.why_not() == ("fault trip" if concerns_us else "")
    assert faults.codes() == (("trip",) if concerns_us else ())


@pytest.mark.parametrize("extent", FaultExtent)
def test_11_a_warning_is_told_and_has_no_consequence(extent):
    faults = book()
    warning = fault(extent=extent, level=FaultLevel.WARN)
    assert faults.add(warning, 0)
    assert faults.add(warning, 1)
    assert (faults.why_not(), faults.codes(), faults.wake_ns) == ("", (), NEVER_NS)


@pytest.mark.parametrize(
    ("extent", "lasts_ns"), [(LOCAL, LOCAL_NS), (GLOBAL, GLOBAL_NS), (NOWHERE, GLOBAL_NS)]
)
def test_11_quarantine_lasts_for_the_sustaining_time_after_the_fault_was_last_seen(
    extent, lasts_ns
):
    faults = book()
    faults.add(fault(extent=extent), 1000)
    assert faults.wake_ns == 1000 + lasts_ns
    faults.add(fault(extent=extent), 1020)
    end_ns = 1020 + lasts_ns
    assert faults.wake_ns == end_ns
    faults.tick(end_ns - 1)
    assert faults.why_not() == "fault trip"
    faults.tick(end_ns)
    assert (faults.why_not(), faults.codes(), faults.wake_ns) == ("", (), NEVER_NS)


def test_a_fault_is_news_once_until_it_is_over():
    faults = book()
    assert faults.add(fault(), 0)
    assert not faults.add(fault(), 1)
    assert not faults.add(fault(), LOCAL_NS)  # it was seen again at 1
    assert faults.add(fault(), 2 * LOCAL_NS)  # over, if not ticked yet
    assert faults.add(fault("other code"), 2 * LOCAL_NS)
    assert faults.add(fault(unit_id="E002"), 2 * LOCAL_NS)


def test_the_end_of_one_fault_leaves_the_others():
    faults = book()
    faults.add(fault("b"), 0)
    faults.add(fault("a", "E003", GLOBAL), 0)
    faults.add(fault("c", "E003"), 0)
    assert faults.codes() == ("a", "b")
    assert faults.wake_ns == LOCAL_NS
    faults.tick(LOCAL_NS)
    assert faults.codes() == ("a",)
    assert faults.why_not() == "fault a"
    assert faults.wake_ns == GLOBAL_NS


def test_a_local_fault_does_not_end_the_global_one_of_the_same_name():
    book = FaultRegistry("E001", 100, 1000)
    book.add(fault(unit_id="E002", extent=FaultExtent.GLOBAL), 0)
    book.add(fault(unit_id="E002", extent=FaultExtent.LOCAL), 1)
    book.tick(500)
    assert book.why_not()


def test_w38_a_fault_that_keeps_coming_back_lasts_longer_each_time():
    faults, now_ns, lasted = book(), 0, []
    for _ in range(9):
        faults.add(fault(), now_ns)
        lasted.append(faults.wake_ns - now_ns)
        now_ns = faults.wake_ns + 1
        faults.tick(now_ns)
    assert lasted == [LOCAL_NS * 2 ** min(times, 6) for times in range(9)]
    now_ns += 100 * LOCAL_NS
    faults.add(fault(), now_ns)
    assert faults.wake_ns - now_ns == LOCAL_NS  # long forgotten


@pytest.mark.parametrize("extent", FaultExtent)
def test_w38_a_fault_that_came_back_too_often_stays_until_an_operator_says_run(extent):
    faults = FaultRegistry("E001", GLOBAL_NS, GLOBAL_NS, latch_after=3)
    flapping, now_ns = fault(extent=extent), 0
    for _ in range(3):
        assert faults.add(flapping, now_ns)
        assert faults.wake_ns < NEVER_NS
        assert faults.why_not() == "fault trip"
        now_ns = faults.wake_ns
        faults.tick(now_ns)
        assert faults.why_not() == ""
    assert faults.add(flapping, now_ns)  # the third time that it is back
    assert not faults.add(flapping, now_ns + 1)
    assert faults.wake_ns == NEVER_NS
    faults.tick(now_ns + 10**15)
    assert not faults.add(flapping, now_ns + 10**15)
    assert faults.why_not() == "fault trip, until an operator says Run"
    assert faults.codes() == ("trip",)
    assert faults.reset() == ("trip",)
    assert (faults.why_not(), faults.codes(), faults.wake_ns) == ("", (), NEVER_NS)


def test_w38_a_network_that_comes_and_goes_waits_for_no_operator():
    faults = FaultRegistry("E001", LOCAL_NS, GLOBAL_NS, latch_after=1)
    silence, now_ns = replace(fault(), category=FaultCategory.FRAMEWORK), 0
    for _ in range(5):
        faults.add(silence, now_ns)
        now_ns = faults.wake_ns
        assert now_ns < NEVER_NS
        faults.tick(now_ns)


def test_w38_after_a_reset_a_fault_is_news_and_begins_anew():
    faults = FaultRegistry("E001", LOCAL_NS, GLOBAL_NS, latch_after=1)
    faults.add(fault(), 0)
    faults.tick(LOCAL_NS)
    faults.add(fault(), LOCAL_NS)
    faults.reset("E001")
    assert faults.add(fault(), LOCAL_NS + 1)
    assert faults.wake_ns == LOCAL_NS + 1 + LOCAL_NS


def test_w38_a_reset_also_ends_what_has_not_latched():
    faults = book()
    faults.add(fault(), 0)
    assert faults.reset("E001") == ("trip",)
    assert faults.why_not() == ""
    assert faults.reset("E001") == ()


def test_w38_a_reset_of_one_unit_leaves_foreign_faults_and_those_of_all():
    faults = book()
    faults.add(fault("own", "E001"), 0)
    faults.add(fault("foreign", "E002"), 0)
    faults.add(fault("of all", "E001", GLOBAL), 0)
    assert faults.reset("E001") == ("own",)
    assert {each.code for each, _ in faults.known} == {"foreign", "of all"}
    assert faults.reset("E002") == ("foreign",)
    assert faults.codes() == ("of all",)
    assert faults.reset() == ("of all",)
    assert faults.known == ()


def leak(unit_id="E002", level=FaultLevel.ERROR):
    return replace(fault("leak", unit_id, GLOBAL, level), category=FaultCategory.HARDWARE)


@pytest.mark.parametrize("level", [FaultLevel.ERROR, FaultLevel.FATAL])
def test_11_2_a_leak_stays_from_the_first_time_on_and_survives_a_restart(level):
    faults = book()
    faults.add(leak(level=level), 7)
    assert faults.latched == (leak(level=level),)
    faults.tick(10**18)
    assert faults.why_not() == "fault leak, until an operator says Run"
    next_process = book()
    next_process.restore(faults.latched, 3)
    assert next_process.latched == faults.latched
    assert next_process.wake_ns == NEVER_NS
    (age,) = {each.age_ns for each in next_process.scrams(5)}
    assert age == GLOBAL_NS + 2
    assert next_process.to_tell_again(5) == []  # an operator may have said Run since
    next_process.reset("E002")
    assert next_process.latched
    next_process.reset_global()
    assert (next_process.latched, next_process.why_not()) == ((), "")


@pytest.mark.parametrize(("unit_id", "is_latched"), [("E001", True), ("E002", False)])
def test_11_2_a_heavy_alarm_stays_at_the_unit_that_has_it(unit_id, is_latched):
    faults = book()
    faults.add(fault("converter_heavy_alarm", unit_id), 0)
    assert bool(faults.latched) is is_latched
    assert (faults.wake_ns == NEVER_NS) is is_latched
    assert faults.scrams(1) == ()


def test_w38_a_reset_forgets_how_often_a_fault_that_is_over_came_back():
    faults = FaultRegistry("E001", LOCAL_NS, GLOBAL_NS, latch_after=2)
    for now_ns in (0, LOCAL_NS + 1):
        faults.add(fault(), now_ns)
    now_ns = faults.wake_ns
    faults.tick(now_ns)
    assert faults.reset("E001") == ()
    faults.add(fault(), now_ns)
    assert faults.wake_ns == now_ns + LOCAL_NS


def test_w38_only_what_comes_back_soon_comes_nearer_to_its_latch():
    faults, now_ns = FaultRegistry("E001", LOCAL_NS, GLOBAL_NS, latch_after=2), 0
    for _ in range(9):
        faults.add(fault(), now_ns)
        assert faults.wake_ns == now_ns + LOCAL_NS
        now_ns = faults.wake_ns + 10 * LOCAL_NS
        faults.tick(now_ns)


def test_w38_each_fault_has_a_latch_of_its_own():
    faults = FaultRegistry("E001", LOCAL_NS, GLOBAL_NS, latch_after=2)
    now_ns = 0
    for _ in range(2):
        for again in (fault("a"), fault("b"), fault("a", "E002"), fault("a", extent=GLOBAL)):
            faults.add(again, now_ns)
        now_ns += 2 * GLOBAL_NS
        faults.tick(now_ns)
    assert faults.why_not() == ""
    faults.add(fault("a"), now_ns)
    assert faults.wake_ns == NEVER_NS
    faults.add(fault("c"), now_ns)
    assert faults.wake_ns == now_ns + LOCAL_NS


def test_w38_a_fault_that_lasts_has_not_come_back():
    faults = book()
    for now_ns in range(0, 10 * LOCAL_NS, LOCAL_NS // 2):
        faults.add(fault(), now_ns)
        assert faults.wake_ns == now_ns + LOCAL_NS
