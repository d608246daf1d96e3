from itertools import pairwise, permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apis_core.config.scenario import (
    Band,
    Rule,
    Rules,
    Scenario,
    Section,
    band_of,
    parse_scenario,
    section_at,
)
from apis_core.config.value_rule import Forecast
from apis_core.model.errors import ConfigError
from apis_core.model.types import SelectionStrategy

CONFIG = Path(__file__).parents[3] / "config"

# Structure and numbers of the original's annotated sample, with fewer rules.
TEXT = """{
    // CONFIG.scenarioFile
    "refreshingPeriodMsec" : 5000,
    "acceptSelection" : { "strategy" : "pointAndAmount" },
    "00:00:00-12:00:00" : {
        "batteryStatus" : {
            "4320-"     : "excess",
            "3600-4320" : "sufficient",
            "2880-3600" : "scarce",
                "-2880" : "short"
        },
        "request" : {
            "excess" : {
                "discharge" : { "pairUnitId" : "E002", "limitWh" : 4320, "pointPerWh" : 10 }
            },
            "sufficient" : {
                // nothing
            },
            "short" : { "charge" : { "limitWh" : 2880 } }
        },
        "accept" : {
            "scarce" : { "charge" : { "pairUnitId" : "E003", "limitWh" : 3600, "pointPerWh" : 9 } }
        }
    },
    "12:00:00-24:00:00" : {
        "batteryStatus" : { "-" : "any" },
        "acceptSelection" : { "strategy" : "amount" }
    },
    "#" : "end"
}"""


def changed(*changes: tuple[str, str]) -> str:
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return text


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_scenario(text, "s.json")
    return sorted(str(problem).removeprefix("s.json: ") for problem in caught.value.problems)


def warnings_of(text: str) -> list[str]:
    scenario = parse_scenario(text, "s.json")
    return [str(warning).removeprefix("s.json: ") for warning in scenario.warnings]


def test_3_3_every_key_of_the_original():
    scenario = parse_scenario(TEXT, "s.json")
    assert scenario == Scenario(
        (
            Section(
                from_s=0,
                to_s=12 * 3600,
                bands=(
                    Band("short", None, 2880.0),
                    Band("scarce", 2880.0, 3600.0),
                    Band("sufficient", 3600.0, 4320.0),
                    Band("excess", 4320.0, None),
                ),
                request={
                    "excess": Rules(discharge=Rule(4320.0, 10.0, "E002")),
                    "sufficient": Rules(),
                    "short": Rules(charge=Rule(2880.0, None, None)),  # W20: any price
                },
                accept={"scarce": Rules(charge=Rule(3600.0, 9.0, "E003"))},
                selection=SelectionStrategy.POINT_AND_AMOUNT,  # of the whole file
            ),
            Section(
                from_s=12 * 3600,
                to_s=24 * 3600,
                bands=(Band("any", None, None),),
                request={},
                accept={},
                selection=SelectionStrategy.AMOUNT,
            ),
        )
    )
    assert scenario.warnings == ()


def test_without_a_strategy_the_amount_decides():
    text = '{ "00:00:00-24:00:00" : { "batteryStatus" : { "-" : "any" } } }'
    assert parse_scenario(text, "s.json").sections[0].selection is SelectionStrategy.AMOUNT


@pytest.mark.parametrize(
    ("seconds", "index"), [(0, 0), (43_199.999, 0), (43_200, 1), (86_399.999, 1)]
)
def test_4_1_section_at_its_edges(seconds, index):
    scenario = parse_scenario(TEXT, "s.json")
    assert section_at(scenario, seconds) is scenario.sections[index]


def test_4_1_no_section_outside_of_all():
    scenario = parse_scenario(changed(('"12:00:00-24:00:00"', '"12:00:00-23:00:00"')), "s.json")
    assert section_at(scenario, 23 * 3600) is None


def test_4_1_the_first_of_two_overlapping_sections_holds():
    text = changed(('"12:00:00-24:00:00"', '"11:59:59-24:00:00"'))
    scenario = parse_scenario(text, "s.json")
    assert section_at(scenario, 43_199) is scenario.sections[0]
    assert warnings_of(text) == [
        "11:59:59-24:00:00: overlaps 00:00:00-12:00:00; the one that comes first in the file holds"
    ]


@pytest.mark.parametrize(
    ("remaining_wh", "band"),
    [
        (0, "short"),
        (2879.99, "short"),
        (2880, "scarce"),
        (3600, "sufficient"),
        (4319.99, "sufficient"),
        (4320, "excess"),
        (99_999, "excess"),
    ],
)
def test_4_1_band_at_its_edges(remaining_wh, band):
    section = parse_scenario(TEXT, "s.json").sections[0]
    assert band_of(section, remaining_wh) == band


@given(
    st.lists(st.integers(0, 10_000), min_size=1, max_size=6, unique=True).map(sorted),
    st.booleans(),
    st.booleans(),
    st.floats(0, 12_000),
    st.randoms(use_true_random=False),
)
def test_every_charge_is_in_exactly_one_band_or_beyond_the_ends(
    edges, open_below, open_above, remaining_wh, rng
):
    texts = [f"{low}-{high}" for low, high in pairwise(edges)]
    texts += [f"-{edges[0]}"] * (open_below and edges[0] > 0) + [f"{edges[-1]}-"] * open_above
    if not texts:
        return
    rng.shuffle(texts)
    bands = ", ".join(f'"{text}" : "{text}"' for text in texts)
    text = f'{{ "00:00:00-24:00:00" : {{ "batteryStatus" : {{ {bands} }} }} }}'
    (section,) = parse_scenario(text, "s.json").sections
    holding = [band.name for band in section.bands if remaining_wh in band]
    below = remaining_wh < edges[0]
    above = remaining_wh >= edges[-1]
    covered = open_below if below else open_above if above else True
    assert len(holding) == covered
    assert band_of(section, remaining_wh) == (holding[0] if holding else None)


def test_uncovered_times_and_charges_are_warnings():
    text = """{
        "01:00:00-02:00:00" : { "batteryStatus" : { "1-2" : "b" } },
        "03:30:00-04:00:05" : { "batteryStatus" : { "0-" : "b" } }
    }"""
    assert warnings_of(text) == [
        "01:00:00-02:00:00: no section before it from 00:00:00: no dealing then",
        "01:00:00-02:00:00.batteryStatus: no band below 1 Wh: no dealing there",
        "01:00:00-02:00:00.batteryStatus: no band from 2 Wh on: no dealing there",
        "03:30:00-04:00:05: no section before it from 02:00:00: no dealing then",
        "03:30:00-04:00:05: no section from 04:00:05 on: no dealing then",
    ]


def test_every_problem_at_once():
    text = changed(
        ('"pointAndAmount"', '"point"'),
        ('"3600-4320"', '"3600-4220"'),
        ('"limitWh" : 2880', '"limitWh" : "2880", "pricePerWh" : 1'),
        ('"limitWh" : 4320,', ""),
        ('"scarce" : {', '"scarec" : {'),
        ('"pairUnitId" : "E003"', '"pairUnitId" : "three"'),
        ('"12:00:00-24:00:00"', '"12:00:00-24:00:01"'),
        ('"-" : "any"', '"-" : "any", "low-high" : "b", "9-9" : "c"'),
        ('"#"', '"acceptSelecton" : 3, "18:00:00-20:00:00" : 4, "#"'),
        ('"refreshingPeriodMsec"', '"refreshPeriodMsec"'),
    )
    first, second = "00:00:00-12:00:00", "12:00:00-24:00:01"
    bands = "must be LOWER-UPPER in Wh, such as 2880-3600, or 4320- or -2880 at the ends"
    assert problems_of(text) == sorted(
        [
            "refreshPeriodMsec is 5000, unknown key; did you mean refreshingPeriodMsec?",
            'acceptSelection.strategy is "point", must be one of amount, pointAndAmount, value',
            "acceptSelecton is 3, unknown key; did you mean acceptSelection?",
            f"{first}.batteryStatus: nothing covers 4220 Wh to 4320 Wh, "
            "between sufficient and excess",
            f"{first}.request.excess.discharge.limitWh: required: a number of at least 0",
            f'{first}.request.short.charge.limitWh is "2880", must be a number of at least 0',
            f"{first}.request.short.charge.pricePerWh is 1, unknown key; did you mean pointPerWh?",
            f'{first}.accept.scarec.charge.pairUnitId is "three", '
            "must be a unit id such as E001 (A-Z, 0-9, single _)",
            f"{second}: must be HH:mm:ss-HH:mm:ss within one day, the earlier time first",
            f'{second}.batteryStatus.low-high is "b", {bands}',
            f'{second}.batteryStatus.9-9 is "c", {bands}',
            "18:00:00-20:00:00 is 4, must be an object { ... }",
            "18:00:00-20:00:00.batteryStatus: required: an object { ... }",
        ]
    )


@pytest.mark.parametrize(
    "key",
    ["22:00:00-06:00:00", "12:00:00-12:00:00", "00:60:00-01:00:00", "0:00:00-24:00:00", "12-13"],
)
def test_section_keys_that_are_no_times(key):
    (problem,) = problems_of(changed(('"12:00:00-24:00:00"', f'"{key}"')))
    assert problem == f"{key}: must be HH:mm:ss-HH:mm:ss within one day, the earlier time first"


@pytest.mark.parametrize(
    ("bands", "told"),
    [
        ('"-200" : "low", "100-" : "high"', "low and high overlap"),
        ('"-" : "all", "100-" : "high"', "all and high overlap"),
        ('"-100" : "low", "-200" : "lower"', "low and lower overlap"),
        ('"100-" : "high", "0-100" : "low", "50-60" : "mid"', "low and mid overlap"),
        (
            '"200-" : "high", "-100" : "low"',
            "nothing covers 100 Wh to 200 Wh, between low and high",
        ),
    ],
)
def test_bands_that_overlap_or_leave_a_gap(bands, told):
    found = problems_of(changed(('"-" : "any"', bands)))
    assert f"12:00:00-24:00:00.batteryStatus: {told}" in found


def test_an_entry_without_a_band_is_never_used_and_that_is_a_warning():
    text = changed(
        ('"request" : {', '"request" : { "gone" : { "charge" : { "limitWh" : 1 } },'),
        ('"accept" : {', '"accept" : { "scarec" : {},'),
    )
    first = "00:00:00-12:00:00"
    assert warnings_of(text) == [
        f"{first}.request.gone: no band has this name, so it is never used",
        f"{first}.accept.scarec: no band has this name, so it is never used; did you mean scarce?",
    ]
    section = parse_scenario(text, "s.json").sections[0]
    assert all(band_of(section, wh) not in ("gone", "scarec") for wh in range(0, 6000, 100))


def test_a_rule_that_is_null_is_absent():
    text = changed(('"request" : {', '"request" : { "scarce" : null, "gone" : null,'))
    assert parse_scenario(text, "s.json") == parse_scenario(TEXT, "s.json")
    assert warnings_of(text) == []


@pytest.mark.parametrize("bands", list(permutations(["2400-", "0-2400", "-0"])))
def test_the_order_of_bands_does_not_matter(bands):
    names = {"2400-": "high", "0-2400": "low", "-0": "none"}
    status = ", ".join(f'"{band}" : "{names[band]}"' for band in bands)
    (section,) = parse_scenario(
        f'{{ "00:00:00-24:00:00" : {{ "batteryStatus" : {{ {status} }} }} }}', "s.json"
    ).sections
    assert [band_of(section, wh) for wh in (0, 2399.9, 2400)] == ["low", "low", "high"]


@pytest.mark.parametrize("text", ["{}", '{ "acceptSelection" : { "strategy" : "amount" } }'])
def test_a_scenario_needs_a_section(text):
    (problem,) = problems_of(text)
    assert problem.startswith("needs at least one section")


@pytest.mark.parametrize("path", sorted(CONFIG.glob("scenario*.json")), ids=lambda path: path.name)
def test_our_own_files_are_right(path):
    scenario = parse_scenario(path.read_text(), path.name)
    assert scenario.warnings == ()


def test_the_value_rule_needs_nothing_but_its_name():
    scenario = parse_scenario('{"rule": "value"}', "scenario.json")
    assert scenario.sections == ()
    assert scenario.value is not None
    assert scenario.value.forecast is Forecast.PERSISTENCE
    assert scenario.value.mains_point_per_wh == 12.0


def test_the_value_rule_knows_its_house():
    text = """{"rule": "value", "forecast": "none", "acceptSelection": {"strategy": "value"},
        "value": {"mains": false, "darkPointPerWh": 30, "fullRsoc": 90}}"""
    value = parse_scenario(text, "scenario.json").value
    assert value is not None
    assert value.forecast is Forecast.NONE
    assert not value.has_mains
    assert value.dark_point_per_wh == 30.0
    assert value.carries_above_ratio == 0.05
    assert value.full_ratio == 0.9


def test_what_is_wrong_with_a_value_rule_is_told_at_once():
    text = """{"rule": "value", "forecast": "weather", "acceptSelection": {"strategy": "amount"},
        "value": {"emptyRsoc": 99, "fullRsoc": 95, "price": 3},
        "00:00:00-24:00:00": {"batteryStatus": {"-": "any"}}}"""
    assert problems_of(text) == [
        '00:00:00-24:00:00: must not stand beside "rule" : "value": bands follow from it',
        'acceptSelection.strategy is "amount", must be "value"',
        'forecast is "weather", must be one of none, persistence',
        "value.emptyRsoc is 99, must be below value.fullRsoc",
        "value.price is 3, unknown key",
    ]
    assert problems_of('{"rule": "worth"}')[-1] == 'rule is "worth", must be one of bands, value'
