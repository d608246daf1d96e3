import pytest

from apis_core.model.units import HOUR_NS, NEVER_NS, SECOND_NS, ns_from_s, s_from_ns, wh_from_w


@pytest.mark.parametrize(
    ("seconds", "nanoseconds"),
    [
        (0.0, 0),
        (1.0, 1_000_000_000),
        (0.1, 100_000_000),
        (-2.5, -2_500_000_000),
        (86_400.0, 86_400_000_000_000),
        (1.4e-9, 1),  # the nearest, not cut off
        (1.6e-9, 2),
    ],
)
def test_nanoseconds_of_seconds(seconds, nanoseconds):
    result = ns_from_s(seconds)
    assert result == nanoseconds
    assert isinstance(result, int)


def test_seconds_of_nanoseconds():
    assert s_from_ns(1_500_000_000) == 1.5
    assert s_from_ns(-1) == -1e-9


@pytest.mark.parametrize(
    ("power_w", "duration_ns", "energy_wh"),
    [
        (350.0, HOUR_NS, 350.0),
        (-700.0, HOUR_NS // 2, -350.0),
        (3600.0, SECOND_NS, 1.0),
        (0.0, HOUR_NS, 0.0),
        (1000.0, 0, 0.0),
    ],
)
def test_energy_of_a_constant_power(power_w, duration_ns, energy_wh):
    assert wh_from_w(power_w, duration_ns) == pytest.approx(energy_wh)


def test_never_fits_into_64_signed_bits_and_is_later_than_a_century():
    assert NEVER_NS.bit_length() == 63
    assert 100 * 366 * 24 * HOUR_NS < NEVER_NS
