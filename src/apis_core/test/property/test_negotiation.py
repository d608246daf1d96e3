"""The rules against dumb versions of themselves, on random input."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apis_core.model.messages import InterchangeAccept, InterchangeRequest
from apis_core.model.types import NOBODY, Direction, SelectionStrategy
from apis_core.trading.negotiation import (
    choose_accept,
    deal_energy_wh,
    evaluate_accept,
    evaluate_request,
)

shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
energies = st.floats(0.0, 1e5)
prices = st.none() | st.integers(0, 4).map(float)
few = st.sampled_from([0.0, 50.0, 60.0])

requests = st.builds(
    InterchangeRequest,
    request_id=st.just("r"),
    unit_id=st.just("E001"),
    type=st.sampled_from(Direction),
    energy_wh=energies,
    current_a=st.just(2.0),
    price_point_per_wh=prices,
    pair_unit_id=st.sampled_from([NOBODY, NOBODY, "E002"]),
    window_ns=st.just(1),
)
accepts = st.lists(
    st.builds(
        InterchangeAccept,
        request_id=st.just("r"),
        unit_id=st.sampled_from(["E002", "E003"]),
        type=st.sampled_from([None, *Direction]),
        energy_wh=st.none() | few,
        current_a=st.just(2.0),
        price_point_per_wh=prices,
    ),
    max_size=6,
)


def is_better(accept, best, request, strategy):
    if strategy is SelectionStrategy.POINT_AND_AMOUNT:
        limit = request.price_point_per_wh or 0.0
        new = limit if accept.price_point_per_wh is None else accept.price_point_per_wh
        old = limit if best.price_point_per_wh is None else best.price_point_per_wh
        if new != old:
            return (new < old) is (request.type is Direction.CHARGE)
    if strategy is SelectionStrategy.VALUE:
        return gain(accept, request) > gain(best, request)
    return accept.energy_wh > best.energy_wh


def gain(accept, request):
    """What the price is better than the requester's limit, times the energy."""
    limit, price = request.price_point_per_wh or 0.0, accept.price_point_per_wh
    better = 0.0 if price is None else limit - price
    sign = 1.0 if request.type is Direction.CHARGE else -1.0
    return sign * better * min(request.energy_wh, accept.energy_wh)


def is_suitable(accept, request, strategy):
    if accept.type is None or accept.type is request.type or not accept.energy_wh:
        return False
    if request.pair_unit_id and request.pair_unit_id != accept.unit_id:
        return False
    if strategy is SelectionStrategy.AMOUNT:
        return True
    limit, price = request.price_point_per_wh, accept.price_point_per_wh
    if limit is None or price is None or price == limit:
        return True
    return (price < limit) is (request.type is Direction.CHARGE)


@settings(max_examples=500)
@given(requests, accepts, st.sampled_from(SelectionStrategy))
def test_4_5_the_choice_is_that_of_a_walk_along_the_list(request, answers, strategy):
    best = None
    for accept in answers:
        if is_suitable(accept, request, strategy) and (
            best is None or is_better(accept, best, request, strategy)
        ):
            best = accept
    assert choose_accept(request, answers, strategy) is best


@shared
@given(
    requested=energies,
    accepted=energies,
    maximum=st.integers(1, 10**4),
    unit=st.integers(1, 10**3),
    minimum=st.integers(1, 10**4),
)
def test_4_4_the_amount_is_the_largest_that_is_allowed(
    policy, requested, accepted, maximum, unit, minimum
):
    policy = replace(
        policy, deal_energy_max_wh=maximum, deal_energy_unit_wh=unit, deal_energy_min_wh=minimum
    )
    energy_wh = deal_energy_wh(requested, accepted, policy)
    at_most_wh = min(requested, accepted, maximum)
    assert energy_wh % unit == 0.0
    if energy_wh:
        assert minimum <= energy_wh <= at_most_wh
        assert energy_wh + unit > at_most_wh
    else:
        assert max(minimum, unit) > at_most_wh - at_most_wh % unit


@shared
@given(remaining_wh=st.floats(0.0, 4800.0), request=requests)
def test_4_2_and_4_3_nobody_offers_to_go_beyond_a_limit(section, remaining_wh, request):
    request = replace(request, pair_unit_id=NOBODY)
    for offer, rules in (
        (evaluate_request(section, remaining_wh), section.request),
        (evaluate_accept(section, remaining_wh, request, "E002"), section.accept),
    ):
        if offer is None or isinstance(offer, str):
            continue
        assert offer.energy_wh >= 1.0
        assert offer.energy_wh == int(offer.energy_wh)
        charges = offer.direction is Direction.CHARGE
        limits = [
            rule.limit_wh
            for band in rules.values()
            if (rule := band.charge if charges else band.discharge) is not None
        ]
        if charges:
            assert remaining_wh + offer.energy_wh <= max(limits)
        else:
            assert remaining_wh - offer.energy_wh >= min(limits)
