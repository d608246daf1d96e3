"""One unit's trading: requests, answers and time in, effects out."""

from __future__ import annotations

import itertools
from dataclasses import replace
from random import Random

import pytest

from apis_core.config.timing import Timing
from apis_core.events import Broadcast, Call, DealWanted, Log, RefuseDeal, Send
from apis_core.model.messages import InterchangeAccept, InterchangeRequest, SubmitReply
from apis_core.model.types import NOBODY, Direction, InterchangeError, SubmitError
from apis_core.model.units import SECOND_NS
from apis_core.trading.interlock import Interlock
from apis_core.trading.trader import Trader, TradingConditions

S = SECOND_NS
NOW_NS = 1_000 * S
CHARGE, DISCHARGE = Direction.CHARGE, Direction.DISCHARGE
WANTS_WH, HAS_WH = 2000.0, 4800.0  # short; excess


class Desk:
    """A trader of E002, its slots, and how it stands."""

    def __init__(self, policy, section, expected_wh, slots=1) -> None:
        self.policy = policy
        self.interlock = Interlock(slots)
        self.trader = Trader(
            unit_id="E002",
            policy=policy,
            timing=Timing.of(policy),
            interlock=self.interlock,
            random=Random(1),
            now_ns=NOW_NS,
        )
        self.conditions = TradingConditions(
            why_not="",
            section=section,
            expected_wh=expected_wh,
            efficient_grid_voltage_v=350.0,
            grid_master_id="E003",
            live_peer_ids=("E001", "E003"),
        )
        self.now_ns = NOW_NS

    def stands(self, **changes) -> Desk:
        self.conditions = replace(self.conditions, **changes)
        return self

    def tick(self) -> list:
        self.now_ns = max(self.now_ns, self.trader.wake_ns)
        return self.trader.tick(self.conditions, self.now_ns)

    def ask(self) -> InterchangeRequest:
        (effect,) = self.tick()
        return effect.message

    def hear(self, accept) -> list:
        return self.trader.hear_accept(accept, self.conditions, self.now_ns)

    def hear_request(self, request) -> InterchangeAccept:
        (effect,) = self.trader.hear_request(request, self.conditions, self.now_ns)
        assert isinstance(effect, Send)
        assert effect.to == request.unit_id
        return effect.message

    def submitted(self) -> Call:
        asked = self.ask()
        self.hear(yes(asked))
        (call,) = self.hear(no(asked, "E003"))
        return call


def yes(request, unit_id="E001", energy_wh=100.0) -> InterchangeAccept:
    return InterchangeAccept(
        request_id=request.request_id,
        unit_id=unit_id,
        type=request.type.opposite,
        energy_wh=energy_wh,
        current_a=2.0,
        price_point_per_wh=10.0,
    )


def no(request, unit_id) -> InterchangeAccept:
    return InterchangeAccept(
        request_id=request.request_id, unit_id=unit_id, type=None, reason="no"
    )


def request(direction=CHARGE, unit_id="E001", energy_wh=300.0, **changes) -> InterchangeRequest:
    fields = {"request_id": "r", "current_a": 2.0, "window_ns": 2 * S}
    return InterchangeRequest(
        type=direction, unit_id=unit_id, energy_wh=energy_wh, **{**fields, **changes}
    )


@pytest.fixture
def wanting(policy, section) -> Desk:
    return Desk(policy, section, WANTS_WH)


@pytest.fixture
def giving(policy, section) -> Desk:
    return Desk(policy, section, HAS_WH)


def test_5_2_it_asks_when_its_time_comes_and_reserves_a_slot(wanting):
    assert wanting.trader.tick(wanting.conditions, NOW_NS) == []
    asked = wanting.ask()
    assert (asked.type, asked.energy_wh, asked.unit_id) == (CHARGE, 880.0, "E002")
    assert wanting.interlock.committed_wh == 50.0  # no deal is larger


@pytest.mark.parametrize(
    "changes",
    [
        {"why_not": "is stopping"},
        {"section": None},
        {"expected_wh": None},
        {"expected_wh": 3000.0},  # scarce: asks for nothing
    ],
)
def test_5_1_when_it_does_not_ask(wanting, changes):
    assert wanting.stands(**changes).tick() == []


@pytest.mark.parametrize(("short_wh", "asks"), [(50.0, True), (49.0, False)])
def test_w19_the_least_amount_is_enough_to_ask(wanting, short_wh, asks):
    assert bool(wanting.stands(expected_wh=2880.0 - short_wh).tick()) is asks


@pytest.mark.parametrize(("over_wh", "accepts"), [(50.0, True), (49.0, False)])
def test_w19_the_least_amount_is_enough_to_accept(giving, over_wh, accepts):
    answer = giving.stands(expected_wh=3600.0 + over_wh).hear_request(request())
    assert (answer.type is DISCHARGE) is accepts
    assert accepts or answer.reason == "has only 49 Wh to discharge"


def test_w18_without_a_free_slot_it_does_not_ask(policy, section):
    assert Desk(policy, section, WANTS_WH, slots=0).tick() == []


def test_it_does_not_ask_while_a_request_or_a_submission_is_open(wanting):
    wanting.ask()
    trader = wanting.trader
    due_ns = trader._due_ns
    trader._negotiation = replace(trader._negotiation, until_ns=due_ns + 1)
    assert trader.tick(wanting.conditions, due_ns) == []


def test_w36_the_window_closes_when_all_live_units_have_answered(wanting):
    asked = wanting.ask()
    assert wanting.hear(yes(asked)) == []
    (call,) = wanting.hear(no(asked, "E003"))
    assert (call.to, call.request.deal.discharge_unit_id) == ("E003", "E001")
    assert call.request.deal.energy_wh == 50.0


def test_5_2_the_window_closes_at_its_end(wanting):
    asked = wanting.ask()
    wanting.hear(yes(asked))
    wanting.now_ns += 2 * S
    effects = wanting.trader.tick(wanting.conditions, wanting.now_ns)
    assert [type(effect) for effect in effects] == [Call]


def test_w36_with_nobody_there_it_does_not_wait(wanting):
    broadcast, note = wanting.stands(live_peer_ids=()).tick()
    assert isinstance(broadcast, Broadcast)
    assert isinstance(note, Log)


@pytest.mark.parametrize("why_not", ["", "is in force stop"])
def test_5_2_no_deal_gives_the_slot_back_and_says_why_once(wanting, why_not):
    for expected in ([Log], []):
        asked = wanting.stands(why_not="").ask()
        wanting.stands(why_not=why_not)
        wanting.hear(no(asked, "E001"))
        effects = wanting.hear(no(asked, "E003"))
        assert [type(effect) for effect in effects] == expected
        assert wanting.interlock.committed_wh == 0.0


def test_an_answer_to_no_request_of_ours_is_ignored(wanting):
    assert wanting.hear(yes(request())) == []


@pytest.mark.parametrize("section_is_gone", [False, True])
def test_a_window_that_closes_in_no_section_goes_by_the_amount(wanting, section_is_gone):
    asked = wanting.ask()
    if section_is_gone:
        wanting.stands(section=None)
    wanting.hear(yes(asked))
    assert [type(e) for e in wanting.hear(no(asked, "E003"))] == [Call]


@pytest.mark.parametrize(
    ("reply", "note"),
    [
        (SubmitReply(error=SubmitError.UNIT_REFUSED, message="E001: no"), "no deal: E001: no"),
        (None, "no deal: the grid master does not answer"),
    ],
)
def test_5_3_a_refused_submission_gives_the_slot_back(wanting, reply, note):
    call = wanting.submitted()
    effects = wanting.trader.submission_answered(call.request.deal.deal_id, reply)
    assert effects == [Log(note)]
    assert wanting.interlock.committed_wh == 0.0


@pytest.mark.parametrize("error", [SubmitError.NONE, SubmitError.UNIT_REFUSED])
def test_5_3_a_slot_that_is_locked_stays(wanting, error):
    deal = wanting.submitted().request.deal
    wanting.interlock.acquire(deal, CHARGE, wanting.now_ns + 60 * S)
    wanting.trader.submission_answered(deal.deal_id, SubmitReply(error=error, message="no"))
    assert wanting.interlock.deals == (deal,)


def test_an_answer_to_nothing_is_ignored(wanting):
    assert wanting.trader.submission_answered("x", SubmitReply()) == []


def test_w36_in_vain_it_asks_less_often_and_after_a_deal_as_before(wanting):
    def pause_s(trader) -> float:
        return sum((trader._next_ns(0) / S) for _ in range(200)) / 200

    first = pause_s(wanting.trader)
    assert first == pytest.approx(5.0, rel=0.1)
    for _ in range(5):
        asked = wanting.ask()
        wanting.hear(no(asked, "E001"))
        wanting.hear(no(asked, "E003"))
    assert pause_s(wanting.trader) == pytest.approx(8 * 5.0, rel=0.1)
    call = wanting.submitted()
    wanting.trader.submission_answered(call.request.deal.deal_id, SubmitReply())
    assert pause_s(wanting.trader) == pytest.approx(5.0, rel=0.1)


@pytest.mark.parametrize(("in_vain", "periods"), [(True, 8.0), (False, 1.0)])
def test_w36_looks_that_are_passed_over_count_as_made(policy, section, in_vain, periods):
    """A process of looks that are 0.5 to 1.5 periods apart, seen at any time: mean 13/24."""
    housekeeping_ns = Timing.of(policy).housekeeping_ns
    waits = []
    for seed in range(400):
        desk = Desk(policy, section, WANTS_WH)
        trader = Trader(
            unit_id="E002",
            policy=policy,
            timing=Timing.of(policy),
            interlock=desk.interlock,
            random=Random(seed),
            now_ns=NOW_NS,
        )
        until_ns = NOW_NS + 100_000 * S + seed * S
        trader.pass_over(until_ns, in_vain=in_vain)
        waits.append((trader.wake_ns - until_ns) / housekeeping_ns)
    assert min(waits) >= 0.0
    assert max(waits) <= 1.5 * periods
    assert sum(waits) / len(waits) == pytest.approx(13.0 / 24.0 * periods, rel=0.08)


def test_w36_a_look_that_is_to_come_is_not_passed_over(wanting):
    wake_ns = wanting.trader.wake_ns
    wanting.trader.pass_over(wake_ns, in_vain=True)
    assert wanting.trader.wake_ns == wake_ns


@pytest.mark.parametrize("asker", ["E002", "E009"])
def test_5_2_our_own_request_and_that_of_a_stranger_are_not_answered(giving, asker):
    assert giving.trader.hear_request(request(unit_id=asker), giving.conditions, NOW_NS) == []


def test_5_2_a_request_is_accepted_with_all_there_is_and_a_slot_is_reserved(giving):
    answer = giving.hear_request(request())
    assert (answer.type, answer.energy_wh, answer.current_a) == (DISCHARGE, 1200.0, 2.0)
    assert giving.interlock.committed_wh == -50.0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"why_not": "is in soft stop"}, "is in soft stop"),
        ({"section": None}, "does not know its state of charge"),
        ({"expected_wh": None}, "does not know its state of charge"),
        ({"expected_wh": 3000.0}, "does not discharge when scarce"),
    ],
)
def test_5_2_a_no_has_a_reason(giving, changes, reason):
    answer = giving.stands(**changes).hear_request(request())
    assert (answer.type, answer.reason) == (None, reason)
    assert giving.interlock.committed_wh == 0.0


def test_w18_a_second_request_finds_the_slot_taken(giving):
    assert giving.hear_request(request()).type is DISCHARGE
    second = giving.hear_request(request(request_id="s", unit_id="E003"))
    assert (second.type, second.reason) == (None, "all 1 slots are taken")


# --- deals by hand -------------------------------------------------------------------------------


def wanted(**changes) -> DealWanted:
    fields = {
        "deal_id": "h",
        "type": CHARGE,
        "peer_unit_id": "E001",
        "energy_wh": 20.0,
        "current_a": 1.0,
        "price_point_per_wh": None,
    }
    return DealWanted(**{**fields, **changes})


@pytest.mark.parametrize(
    ("direction", "giver", "taker"), [(CHARGE, "E001", "E002"), (DISCHARGE, "E002", "E001")]
)
def test_5_3_a_deal_by_hand_goes_straight_to_the_grid_master(wanting, direction, giver, taker):
    (call,) = wanting.trader.want(wanted(type=direction), wanting.conditions, NOW_NS)
    deal = call.request.deal
    assert (deal.discharge_unit_id, deal.charge_unit_id) == (giver, taker)
    assert (deal.energy_wh, deal.current_a) == (20.0, 1.0)
    assert wanting.trader.submission_answered("h", SubmitReply()) == []


def test_5_3_without_a_current_it_is_the_policys(wanting):
    (call,) = wanting.trader.want(wanted(current_a=None), wanting.conditions, NOW_NS)
    assert call.request.deal.current_a == 2.0


@pytest.mark.parametrize(
    ("changes", "conditions", "error"),
    [
        ({"peer_unit_id": "E009"}, {}, InterchangeError.INVALID),
        ({"peer_unit_id": "E002"}, {}, InterchangeError.INVALID),
        ({"energy_wh": 0.0}, {}, InterchangeError.INVALID),
        ({"current_a": float("nan")}, {}, InterchangeError.INVALID),
        ({}, {"grid_master_id": NOBODY}, InterchangeError.NO_GRID_MASTER),
        ({}, {"why_not": "is in force stop"}, InterchangeError.REFUSED),
    ],
)
def test_5_3_what_is_wrong_with_a_deal_by_hand_is_said_at_once(
    wanting, changes, conditions, error
):
    (refused,) = wanting.trader.want(
        wanted(**changes), wanting.stands(**conditions).conditions, NOW_NS
    )
    assert isinstance(refused, RefuseDeal)
    assert refused.error is error


@pytest.mark.parametrize("is_locked", [False, True])
@pytest.mark.parametrize("reply", [None, SubmitReply(error=SubmitError.INVALID, message="no")])
def test_5_3_a_deal_by_hand_that_is_refused_later(wanting, reply, is_locked):
    (call,) = wanting.trader.want(wanted(), wanting.conditions, NOW_NS)
    if is_locked:
        wanting.interlock.acquire(call.request.deal, CHARGE, NOW_NS + 60 * S)
    (refused,) = wanting.trader.submission_answered("h", reply)
    assert refused.error is InterchangeError.REFUSED
    assert bool(wanting.interlock.deals) is is_locked


# --- another band --------------------------------------------------------------------------------


def test_5_1_a_charge_that_comes_into_another_band_is_acted_on_at_once(wanting):
    wanting.trader.look_now(NOW_NS)
    assert wanting.trader.wake_ns == NOW_NS
    (effect,) = wanting.trader.tick(wanting.conditions, NOW_NS)
    assert isinstance(effect, Broadcast)


def test_5_1_a_charge_at_the_edge_of_a_band_asks_no_oftener(wanting):
    """To and fro every second, with nobody who gives anything."""
    asked_ns = []
    for second in range(600):
        now_ns = wanting.now_ns = NOW_NS + second * S
        wanting.trader.look_now(now_ns)
        for effect in wanting.trader.tick(wanting.conditions, now_ns):
            if isinstance(effect, Broadcast):
                asked_ns.append(now_ns)
                wanting.hear(no(effect.message, "E001"))
                wanting.hear(no(effect.message, "E003"))
    gaps_s = [(b - a) // S for a, b in itertools.pairwise(asked_ns)]
    assert gaps_s[0] >= 5  # a housekeeping period
    assert min(gaps_s[3:]) >= 20  # after requests in vain: four and eight of them, with jitter


def test_5_1_one_negotiation_at_a_time_also_then(wanting):
    wanting.ask()
    wanting.trader.look_now(wanting.now_ns + 60 * S)
    trader = wanting.trader
    trader._negotiation = replace(trader._negotiation, until_ns=wanting.now_ns + 120 * S)
    assert trader.tick(wanting.conditions, wanting.now_ns + 60 * S) == []


# --- when the grid master is lost ----------------------------------------------------------------


def follows(desk: Desk, grid_master_id: str, term: int) -> list:
    desk.stands(grid_master_id=grid_master_id, why_not="" if grid_master_id else "nobody leads")
    return desk.trader.follow(grid_master_id, term, desk.now_ns)


@pytest.mark.parametrize("lost_at", ["asked", "submitted", "idle"])
def test_w5_what_the_loss_of_a_grid_master_spoils_is_asked_for_again_when_the_next_one_leads(
    wanting, lost_at
):
    follows(wanting, "E003", 1)
    if lost_at == "submitted":
        wanting.submitted()
    elif lost_at == "asked":
        wanting.ask()
    follows(wanting, NOBODY, 1)
    assert wanting.interlock.why_not(CHARGE) == ""  # nothing is kept for what is void
    if lost_at == "idle":
        assert wanting.tick() == []  # it would have asked now
    wanting.now_ns += 5 * S
    follows(wanting, "E001", 2)
    assert wanting.trader.wake_ns <= wanting.now_ns + S
    assert wanting.ask().type is CHARGE


def test_w5_an_answer_to_what_is_void_concerns_nothing_else(wanting):
    follows(wanting, "E003", 1)
    old = wanting.submitted().request.deal.deal_id
    follows(wanting, "E001", 2)
    new = wanting.submitted().request.deal.deal_id
    assert new != old
    assert wanting.trader.submission_answered(old, None) == []
    assert wanting.trader._submitted is not None


def test_w5_who_has_reserved_a_slot_for_a_lost_negotiation_has_it_back(giving):
    follows(giving, "E003", 1)
    assert giving.hear_request(request(CHARGE)).type is not None
    follows(giving, "E001", 2)
    assert not giving.interlock.is_used
