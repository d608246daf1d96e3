from dataclasses import replace

import pytest

from apis_core.config.scenario import Band, Rule, Rules, Section
from apis_core.model.messages import Deal, InterchangeAccept, InterchangeRequest
from apis_core.model.types import NOBODY, Direction, Meter, SelectionStrategy
from apis_core.trading.negotiation import (
    Negotiation,
    Offer,
    choose_accept,
    deal_energy_wh,
    evaluate_accept,
    evaluate_request,
    why_no_deal_size,
)

CHARGE, DISCHARGE = Direction.CHARGE, Direction.DISCHARGE
AMOUNT, POINT = SelectionStrategy.AMOUNT, SelectionStrategy.POINT_AND_AMOUNT


def request(direction=CHARGE, energy_wh=300.0, **changes):
    fields = {"request_id": "r", "unit_id": "E001", "current_a": 2.0, "window_ns": 10}
    return InterchangeRequest(type=direction, energy_wh=energy_wh, **{**fields, **changes})


def accept(unit_id="E002", direction=DISCHARGE, energy_wh=100.0, price=10.0, **changes):
    fields = {"request_id": "r", "current_a": 2.0, "price_point_per_wh": price}
    return InterchangeAccept(
        unit_id=unit_id, type=direction, energy_wh=energy_wh, **{**fields, **changes}
    )


def no(unit_id, reason):
    return InterchangeAccept(request_id="r", unit_id=unit_id, type=None, reason=reason)


def one_band(*, request=None, accept=None):
    """A section whose only band, "any", has these rules."""
    return Section(
        from_s=0,
        to_s=86_400,
        bands=(Band("any", None, None),),
        request={"any": request} if request else {},
        accept={"any": accept} if accept else {},
        selection=AMOUNT,
    )


# --- 4.2 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("remaining_wh", "expected"),
    [
        (0.0, Offer(CHARGE, 2880.0, 10.0, NOBODY)),
        (2780.0, Offer(CHARGE, 100.0, 10.0, NOBODY)),
        (2780.6, Offer(CHARGE, 99.0, 10.0, NOBODY)),  # whole Wh
        (2879.5, None),  # less than one
        (2880.0, None),  # scarce: asks for nothing
        (3600.0, None),  # sufficient
        (4320.0, None),  # excess, but nothing above the limit
        (4420.9, Offer(DISCHARGE, 100.0, 10.0, NOBODY)),
        (4800.0, Offer(DISCHARGE, 480.0, 10.0, NOBODY)),
    ],
)
def test_4_2_what_a_unit_asks_for(section, remaining_wh, expected):
    assert evaluate_request(section, remaining_wh) == expected


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (None, None),
        (Rules(), None),
        (Rules(charge=Rule(900.0), discharge=Rule(100.0)), Offer(CHARGE, 400.0, None, NOBODY)),
        (Rules(charge=Rule(400.0), discharge=Rule(100.0)), None),  # only one is used
        (Rules(discharge=Rule(100.0, 7.0, "E003")), Offer(DISCHARGE, 400.0, 7.0, "E003")),
        (Rules(discharge=Rule(600.0)), None),
    ],
)
def test_4_2_charging_is_looked_at_before_discharging(rules, expected):
    assert evaluate_request(one_band(request=rules), 500.0) == expected


def test_4_2_outside_every_band_nothing_is_asked():
    section = replace(
        one_band(request=Rules(charge=Rule(900.0))), bands=(Band("any", 100.0, 200.0),)
    )
    assert evaluate_request(section, 150.0) is not None
    assert evaluate_request(section, 200.0) is None


# --- 4.3 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "remaining_wh", "expected"),
    [
        (CHARGE, 4800.0, Offer(DISCHARGE, 1200.0, 10.0, NOBODY)),  # all it has, not what is asked
        (CHARGE, 3700.4, Offer(DISCHARGE, 100.0, 10.0, NOBODY)),
        (CHARGE, 3600.0, "nothing to discharge up to the limit of 3600 Wh"),
        (CHARGE, 3000.0, "does not discharge when scarce"),
        (DISCHARGE, 3000.0, Offer(CHARGE, 600.0, 10.0, NOBODY)),
        (DISCHARGE, 0.0, Offer(CHARGE, 3600.0, 10.0, NOBODY)),
        (DISCHARGE, 3599.5, "nothing to charge up to the limit of 3600 Wh"),
        (DISCHARGE, 4800.0, "does not charge when excess"),
    ],
)
def test_4_3_what_a_unit_answers(section, asked, remaining_wh, expected):
    assert evaluate_accept(section, remaining_wh, request(asked), "E002") == expected


@pytest.mark.parametrize(
    ("asked_for", "expected"),
    [("E002", Offer), (NOBODY, Offer), ("E003", "asks only E003")],
)
def test_4_3_a_request_for_another_unit_is_declined(section, asked_for, expected):
    answer = evaluate_accept(section, 4800.0, request(pair_unit_id=asked_for), "E002")
    assert answer == expected or isinstance(answer, Offer) is (expected is Offer)


@pytest.mark.parametrize(
    ("pair_unit_id", "expected"),
    [
        (None, Offer(DISCHARGE, 500.0, None, NOBODY)),
        ("E001", Offer(DISCHARGE, 500.0, None, "E001")),
        ("E003", "deals only with E003"),
    ],
)
def test_4_3_a_rule_for_another_unit_declines(pair_unit_id, expected):
    section = one_band(accept=Rules(discharge=Rule(0.0, None, pair_unit_id)))
    assert evaluate_accept(section, 500.0, request(CHARGE), "E002") == expected


def test_4_3_outside_every_band_nothing_is_given():
    section = replace(one_band(), bands=())
    answer = evaluate_accept(section, 500.0, request(CHARGE), "E002")
    assert answer == "does not discharge when in no band"


# --- 4.4 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requested", "accepted", "maximum", "unit", "minimum", "expected"),
    [
        (300.0, 200.0, 500, 50, 50, 200.0),  # the smaller of both
        (200.0, 300.0, 500, 50, 50, 200.0),
        (900.0, 900.0, 500, 50, 50, 500.0),  # at most the maximum
        (199.9, 900.0, 500, 50, 50, 150.0),  # whole units
        (900.0, 900.0, 520, 50, 50, 500.0),  # the maximum too
        (50.0, 50.0, 500, 50, 50, 50.0),  # the minimum is enough
        (49.0, 900.0, 500, 50, 50, 0.0),
        (120.0, 120.0, 500, 50, 101, 0.0),  # too little once it is cut
        (120.0, 120.0, 500, 1, 101, 120.0),
        (7.0, 7.0, 500, 50, 1, 0.0),  # less than one unit
    ],
)
def test_4_4_amount_is_cut_to_whole_units(
    policy, requested, accepted, maximum, unit, minimum, expected
):
    changed = replace(
        policy, deal_energy_max_wh=maximum, deal_energy_unit_wh=unit, deal_energy_min_wh=minimum
    )
    energy_wh = deal_energy_wh(requested, accepted, changed)
    assert energy_wh == expected
    assert isinstance(energy_wh, float)


# --- 4.5 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", SelectionStrategy)
@pytest.mark.parametrize(
    "unsuitable",
    [
        no("E002", "is in soft stop"),
        accept(direction=CHARGE),  # the wrong direction
        accept(energy_wh=None),
        accept(energy_wh=0.0),
        accept(current_a=None),
        accept(current_a=0.0),
    ],
)
def test_4_5_an_accept_that_lacks_something_is_skipped(strategy, unsuitable):
    assert choose_accept(request(), [unsuitable], strategy) is None
    good = accept("E003", energy_wh=1.0)
    assert choose_accept(request(), [unsuitable, good], strategy) is good


@pytest.mark.parametrize("strategy", SelectionStrategy)
def test_4_5_only_the_unit_asked_for_will_do(strategy):
    accepts = [accept("E002", energy_wh=500.0), accept("E003", energy_wh=60.0)]
    asked = request(pair_unit_id="E003")
    assert choose_accept(asked, accepts, strategy) is accepts[1]
    assert choose_accept(asked, accepts[:1], strategy) is None


@pytest.mark.parametrize(
    ("energies", "chosen"), [([], None), ([60.0], 0), ([60.0, 90.0, 80.0], 1), ([60.0, 60.0], 0)]
)
def test_4_5_amount_takes_the_largest_and_the_earliest_of_equals(energies, chosen):
    accepts = [accept(f"E{n}", energy_wh=e, price=99.0 - n) for n, e in enumerate(energies)]
    asked = request(price_point_per_wh=1.0)  # prices do not matter here
    expected = None if chosen is None else accepts[chosen]
    assert choose_accept(asked, accepts, AMOUNT) is expected


@pytest.mark.parametrize(
    ("direction", "limit", "offers", "chosen"),
    [
        # (price, energy) in the order in which they came
        (CHARGE, 10.0, [(9.0, 60.0), (8.0, 50.0), (11.0, 90.0)], 1),  # the lowest
        (CHARGE, 10.0, [(10.0, 60.0)], 0),  # the limit itself will do
        (CHARGE, 10.0, [(10.1, 60.0)], None),
        (CHARGE, 10.0, [(8.0, 50.0), (8.0, 70.0), (8.0, 70.0)], 1),
        (CHARGE, None, [(500.0, 50.0), (400.0, 50.0)], 1),  # any price
        (CHARGE, 10.0, [(None, 50.0), (9.0, 50.0)], 1),  # no price: takes the limit
        (CHARGE, 10.0, [(None, 60.0), (10.0, 50.0)], 0),
        (DISCHARGE, 10.0, [(11.0, 60.0), (12.0, 50.0), (9.0, 90.0)], 1),  # the highest
        (DISCHARGE, 10.0, [(10.0, 60.0)], 0),
        (DISCHARGE, 10.0, [(9.9, 60.0)], None),
        (DISCHARGE, 10.0, [(12.0, 50.0), (12.0, 70.0), (12.0, 70.0)], 1),
        (DISCHARGE, None, [(0.5, 50.0), (0.4, 50.0)], 0),
        (DISCHARGE, 10.0, [(None, 50.0), (11.0, 50.0)], 1),
    ],
)
def test_4_5_point_and_amount_takes_the_best_price_within_the_limit(
    direction, limit, offers, chosen
):
    asked = request(direction, price_point_per_wh=limit)
    accepts = [
        accept(f"E{n}", direction.opposite, energy, price)
        for n, (price, energy) in enumerate(offers)
    ]
    expected = None if chosen is None else accepts[chosen]
    assert choose_accept(asked, accepts, POINT) is expected


# --- 5.2 -----------------------------------------------------------------------------------------


def negotiation(*awaited, asked=None):
    return Negotiation(asked or request(), until_ns=10, awaited_ids=set(awaited))


def test_5_2_late_foreign_and_second_answers_are_ignored():
    window = negotiation("E002", "E003")
    window.hear(accept("E004"))  # not a member that was asked
    window.hear(accept("E002", request_id="another"))
    assert (window.accepts, window.awaited_ids) == ([], {"E002", "E003"})
    first = accept("E002", energy_wh=60.0)
    window.hear(first)
    window.hear(accept("E002", energy_wh=900.0))
    window.hear(no("E003", "is short"))
    window.hear(accept("E003"))
    assert window.accepts == [first]
    assert window.declined == {"E003": "is short"}


def test_5_2_the_window_closes_at_its_end_or_when_all_have_answered():
    window = negotiation("E002", "E003")
    window.hear(accept("E002"))
    assert not window.is_over(9)
    assert window.is_over(10)
    window.hear(no("E003", "is short"))
    assert window.is_over(0)


@pytest.mark.parametrize(
    ("direction", "discharger", "charger", "price"),
    [(CHARGE, "E002", "E001", 12.0), (DISCHARGE, "E001", "E002", 11.0)],
)
def test_5_2_the_deal_that_comes_of_it(policy, direction, discharger, charger, price):
    asked = request(direction, energy_wh=120.0, price_point_per_wh=12.0, current_a=1.5)
    window = negotiation("E002", asked=asked)
    window.hear(accept("E002", direction.opposite, 900.0, 11.0, current_a=2.0))
    policy = replace(policy, deal_energy_max_wh=500, meter=Meter.GRID)
    assert window.conclude(AMOUNT, policy) == Deal(
        deal_id="r",
        request_unit_id="E001",
        accept_unit_id="E002",
        discharge_unit_id=discharger,
        charge_unit_id=charger,
        energy_wh=100.0,
        current_a=1.5,  # the smaller of both
        price_point_per_wh=price,  # the charging unit's
        meter=Meter.GRID,
    )


def test_5_2_the_smaller_current_also_when_it_is_the_accepters(policy):
    window = negotiation("E002", asked=request(current_a=2.0))
    window.hear(accept("E002", current_a=0.7))
    deal = window.conclude(AMOUNT, policy)
    assert isinstance(deal, Deal)
    assert deal.current_a == 0.7


@pytest.mark.parametrize(
    ("awaited", "answers", "expected"),
    [
        ([], [], "no accept suits"),
        (["E003", "E002"], [], "no answer from E002, E003"),
        (
            ["E002", "E003", "E004"],
            [no("E004", "is short"), no("E002", "is in soft stop")],
            "E002 is in soft stop, E004 is short; no answer from E003",
        ),
        (["E002"], [accept("E002", CHARGE)], "no accept suits"),
        (
            ["E002"],
            [accept("E002", energy_wh=49.5)],
            "E002 offers 49.5 Wh, too little for a deal",
        ),
    ],
)
def test_5_2_why_there_is_no_deal(policy, awaited, answers, expected):
    window = negotiation(*awaited)
    for answer in answers:
        window.hear(answer)
    assert window.conclude(AMOUNT, policy) == expected


def test_2_2_an_accept_with_a_current_below_zero_is_no_accept():
    good = accept("E002", energy_wh=55.0)
    bad = accept("E003", energy_wh=60.0, current_a=-1.0)
    assert choose_accept(request(), [bad, good], SelectionStrategy.AMOUNT) is good


def test_the_policy_may_have_larger_deals_than_an_operator(policy):
    large = replace(policy, deal_energy_max_wh=300_000, deal_current_a=2000.0)
    assert why_no_deal_size(300_000.0, 2000.0, None, large) == ("", "")
    assert why_no_deal_size(300_000.0) == ("energy_wh", "must be above 0 and at most 100000 Wh")
    assert why_no_deal_size(1.0, 2000.0) == ("current_a", "must be above 0 and at most 1000 A")


# --- 4.5, the value rule -------------------------------------------------------------------------


VALUE = SelectionStrategy.VALUE


@pytest.mark.parametrize(
    ("direction", "limit", "answers", "chosen"),
    [
        (CHARGE, 10.0, [("E002", 9.0, 300.0), ("E003", 5.0, 100.0)], "E003"),  # 500 before 300
        (CHARGE, 10.0, [("E002", 9.0, 300.0), ("E003", 5.0, 50.0)], "E002"),
        (CHARGE, 10.0, [("E002", 8.0, 900.0), ("E003", 7.0, 300.0)], "E003"),  # 300 are asked for
        (CHARGE, 10.0, [("E002", 11.0, 300.0)], None),
        (DISCHARGE, 5.0, [("E002", 6.0, 300.0), ("E003", 9.0, 200.0)], "E003"),
        (DISCHARGE, 5.0, [("E002", 4.0, 300.0)], None),
    ],
)
def test_4_5_value_takes_the_most_gain(direction, limit, answers, chosen):
    asked = request(direction, price_point_per_wh=limit)
    accepts = [
        accept(unit_id, direction.opposite, energy_wh, price)
        for unit_id, price, energy_wh in answers
    ]
    best = choose_accept(asked, accepts, VALUE)
    assert (best and best.unit_id) == chosen


def test_4_5_by_value_the_price_is_the_middle_of_both(policy):
    for direction, limit, answer in ((CHARGE, 10.0, 4.0), (DISCHARGE, 4.0, 10.0)):
        window = negotiation("E002", asked=request(direction, price_point_per_wh=limit))
        window.hear(accept("E002", direction.opposite, price=answer))
        deal = window.conclude(VALUE, policy)
        assert isinstance(deal, Deal)
        assert deal.price_point_per_wh == 7.0


@pytest.mark.parametrize(
    ("direction", "price", "expected"),
    [
        (CHARGE, 8.0, None),
        (CHARGE, 7.9, "gives for 8, not for 7.9"),
        (CHARGE, None, None),
        (DISCHARGE, 6.0, None),
        (DISCHARGE, 6.1, "pays 6, not 6.1"),
    ],
)
def test_4_3_by_value_an_answer_that_cannot_suit_is_declined(direction, price, expected):
    rules = Rules(charge=Rule(4000.0, 6.0), discharge=Rule(1000.0, 8.0))
    section = replace(one_band(accept=rules), selection=VALUE)
    asked = request(direction, price_point_per_wh=price)
    answer = evaluate_accept(section, 2000.0, asked, "E002")
    assert isinstance(answer, Offer) if expected is None else answer == expected
