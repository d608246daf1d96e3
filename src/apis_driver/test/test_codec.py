from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apis_core.model.errors import ConfigError
from apis_driver.codec import exact, load_table, parse_table
from apis_driver.errors import ImplausibleReply, OutOfRange, WrongLength

TABLE = """
name: Example
byte_order: big
fields:
  soc: {type: u16, scale: 0.1, unit: percent, min: 0, max: 100}
  power: {type: s32, scale: 0.01, unit: W}
  mode: {type: u8, codes: {0: idle, 7: run}}
blocks:
  all: {code: 9, request: [mode], reply: [soc, power, mode]}
"""


def test_a_tenth_is_a_tenth():
    block = parse_table(TABLE, "x")["all"].reply
    raw = block.raw_of({"soc": exact(0.3), "power": "-12.34", "mode": 7})
    assert raw == {"soc": 3, "power": -1234, "mode": 7}
    assert block.pack(raw).hex() == "0003fffffb2e07"
    assert block.exact_values(raw) == {
        "soc": Decimal("0.3"),
        "power": Decimal("-12.34"),
        "mode": 7,
    }
    assert block.values(raw)["power"] == -12.34


@given(st.integers(0, 1000), st.integers(-(2**31), 2**31 - 1), st.sampled_from([0, 7]))
def test_counts_go_there_and_back(soc, power, mode):
    block = parse_table(TABLE, "x")["all"].reply
    raw = {"soc": soc, "power": power, "mode": mode}
    assert block.unpack(block.pack(raw)) == raw
    assert block.raw_of(block.exact_values(raw)) == raw


def test_limits_are_compared_in_counts():
    field = load_table("eza2500")["6-4"].request.fields[2]
    assert field.name == "ubv"
    least = field.raw_of("32")
    assert field.exact_of(least) < 32
    assert field.raw_of(field.exact_of(least)) == least
    with pytest.raises(OutOfRange):
        field.raw_of("31.99")


def test_the_kind_of_a_number_decides_how_exactly_it_is_taken():
    field = load_table("eza2500")["6-4"].request.fields[0]
    assert field.raw_of(52.08) == 8191
    assert field.raw_of("52.08") == field.raw_of(exact(52.08)) == 8192


def test_what_cannot_be_is_not_believed_and_what_does_not_fit_not_cut():
    block = parse_table(TABLE, "x")["all"].reply
    with pytest.raises(ImplausibleReply, match=r"soc is 100.1 percent, it must be from 0 to 100"):
        block.check({"soc": 1001, "power": 0, "mode": 0})
    with pytest.raises(WrongLength, match="6 bytes, it must have 7"):
        block.unpack(bytes(6))
    with pytest.raises(OutOfRange, match=r"mode is 0x1, it must be one of 0x0 \(idle\), 0x7"):
        block.raw_of({"soc": 1, "power": 1, "mode": 1})
    with pytest.raises(OutOfRange, match="whole number"):
        block.raw_of({"soc": 1, "power": 1, "mode": "0.5"})


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ("name: Example", "nam: Example", "unknown key"),
        ("type: s32", "type: s33", "fields.power.type"),
        ("scale: 0.01", "scale: 0.01, q: 3", "q and rating must stand together"),
        ("scale: 0.01", "scale: 0.01, q: 3, rating: 1", "not both"),
        ("min: 0", "min: 101", "min must not exceed max"),
        ("[mode]", "[modus]", "modus"),
        ("byte_order: big", "byte_order: odd", "byte_order"),
        ("name: Example", "name: {", "must be YAML"),
    ],
)
def test_a_wrong_table_is_told(wrong, right, said):
    assert wrong in TABLE
    with pytest.raises(ConfigError) as raised:
        parse_table(TABLE.replace(wrong, right, 1), "my_table.yaml")
    assert said in str(raised.value)
    assert "my_table.yaml" in str(raised.value)


def test_a_table_of_ones_own_is_read_by_its_path(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(TABLE)
    assert load_table(str(path)).name == "Example"
    with pytest.raises(ConfigError, match="no such file"):
        load_table(str(tmp_path / "none.yaml"))
