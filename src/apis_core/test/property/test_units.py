from hypothesis import given
from hypothesis import strategies as st

from apis_core.model.units import ns_from_s, s_from_ns

TWELVE_DAYS_NS = 2**50  # up to here a float of seconds is exact to the nanosecond


@given(st.integers(-TWELVE_DAYS_NS, TWELVE_DAYS_NS))
def test_nanoseconds_survive_the_way_through_seconds(nanoseconds):
    assert ns_from_s(s_from_ns(nanoseconds)) == nanoseconds


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_the_later_second_is_never_the_earlier_nanosecond(first_s, second_s):
    low_s, high_s = sorted((first_s, second_s))
    assert ns_from_s(low_s) <= ns_from_s(high_s)
