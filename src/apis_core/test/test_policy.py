import dataclasses
import json
import random
from pathlib import Path
from typing import get_type_hints

import pytest

from apis_core.config.branches import Branch
from apis_core.config.policy import Policy, parse_policy, policy_hash, policy_text, replace_members
from apis_core.config.validation import REQUIRED, Key
from apis_core.model.errors import ConfigError
from apis_core.model.types import Direction, GridMasterStrategy, Meter, OperationMode

ROOT = Path(__file__).parents[3]
MS = 1_000_000
FORCE_STOP = "gridMaster.deal.forceStopCondition"

# Structure and numbers of the original's ready-to-run sample.
TEXT = """{
    "#" : "place this file at the path defined by 'policyFile' in config file",
    "refreshingPeriodMsec" : 5000,
    "operationMode" : "stop",
    "memberUnitIds" : ["E001","E002","E003","E004"],
    "largeCapacityUnitIds" : ["E001"],
    "operationGridVoltageV" : 350,
    "operationGridVoltageVRange" : { "min" : 300, "max" : 380 },
    "gridVoltageSeparationV" : 10,
    "gridVoltageAllowanceV" : 4,
    "gridVoltageDropAllowanceV" : 20, // V
    "gridCurrentStepA" : 1,
    "gridUvloMaskV" : 10,
    "safety" : {
        "sumOfDealingUnitGridCurrentAllowancePerUnitA" : 0.125,
        "sumOfDealGridCurrentMaxA" : 100,
        "gridTopologyBasedEvaluation" : {
            "enabled" : false,
            "branchIds" : [],
            "branchAssociation" : { "" : "" },
            "branchCurrentCapacityA" : { "" : "" }
        }
    },
    "heloPeriodMsec" : 5001,
    "controller" : {
        "dcdc" : {
            "checkpoint" : { "retryLimit" : 3, "retryWaitMsec" : 100 },
            "voltageReference" : {
                "rampUp" : { "first" : { "timeoutMsec" : 180000 } },
                "authorization" : { "numberOfTrials" : 4 }
            }
        },
        "scramVoltageReferenceDelayMsec" : 5002,
        "stopMeTimeoutMsec" : 60000,
        "stopMeCheckPeriodMsec" : 1001,
        "dataAcquisitionPeriodMsec" : 5003,
        "requestTimeoutMsec" : 5004,
        "retryLimit" : 5
    },
    "user" : {
        "errorHandlingPeriodMsec" : 1000,
        "errorSustainingMsec" : 30000,
        "houseKeepingPeriodMsec" : 5005
    },
    "mediator" : {
        "deal" : {
            "gridCurrentA" : 1, "amountMinWh" : 50, "amountMaxWh" : 60, "amountUnitWh" : 10
        },
        "negotiationTimeoutMsec" : 2000,
        "dealLoggingPeriodMsec" : 5000
    },
    "gridMaster" : {
        "voltageReferenceSide" : "dischargeUnit",
        "voltageReferenceTakeOverDvg" : "actual",
        "masterDealSelection" : { "strategy" : "newestDeal" },
        "gridMasterSelection" : { "strategy" : "anywhere", "fixedUnitId" : "Exxx" },
        "gridMasterEnsuring" : { "interlockInconsistency" : { "retryWaitMsec" : 2000 } },
        "gridMasterWatching" : { "absence" : { "ensureWaitMsec" : 5000 } },
        "deal" : {
            "forceStopCondition" : {
                "dischargeUnitLowerLimitRsoc" : 20,
                "chargeUnitUpperLimitRsoc" : 95
            },
            "referenceSide" : "chargeUnit",
            "resetLimit" : 2
        },
        "currentCompensation" : { "limitOfTrials" : 6, "driftAllowanceA" : 0.03 },
        "gridVoltageOptimization" : { "enabled" : true },
        "heloPeriodMsec" : 5006,
        "dataCollectionPeriodMsec" : 5007,
        "dataCollectionTimeoutMsec" : 2001,
        "mainLoopPeriodMsec" : 5008,
        "errorSustainingMsec" : 30001
    },
    "#" : "end"
}"""
BRANCHES = """{
    "enabled" : true,
    "branchIds" : ["west", "east"],
    "branchAssociation" : {
        "west" : { "forwardUnitIds" : ["E001"], "backwardUnitIds" : ["E002", "E003", "E004"] },
        "east" : { "forwardUnitIds" : ["E001", "E002", "E003"], "backwardUnitIds" : ["E004"] }
    },
    "branchCurrentCapacityA" : { "west" : 10.0, "east" : 6 }
}"""


def changed(*changes: tuple[str, str]) -> str:
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return text


def with_branches(*changes: tuple[str, str]) -> str:
    start = TEXT.index('"gridTopologyBasedEvaluation"')
    end = TEXT.index('"heloPeriodMsec"', start)
    branches = BRANCHES
    for old, new in changes:
        assert old in branches
        branches = branches.replace(old, new, 1)
    return f'{TEXT[:start]}"gridTopologyBasedEvaluation" : {branches} }}, {TEXT[end:]}'


def policy_of(text: str) -> Policy:
    return parse_policy(text, "policy.json")


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        policy_of(text)
    return [str(problem).removeprefix("policy.json: ") for problem in caught.value.problems]


def keys_of(cls: type) -> dict[str, Key]:
    hints = get_type_hints(cls, include_extras=True)
    return {
        name: meta
        for name, hint in hints.items()
        for meta in getattr(hint, "__metadata__", ())
        if isinstance(meta, Key)
    }


def test_3_1_every_key_of_the_original():
    policy = policy_of(TEXT)
    assert policy == Policy(
        version=0,
        refresh_period_ns=5000 * MS,
        operation_mode=OperationMode.FORCE_STOP,
        member_unit_ids=("E001", "E002", "E003", "E004"),
        large_capacity_unit_ids=("E001",),
        hello_period_ns=5001 * MS,
        grid_voltage_v=350.0,
        grid_voltage_min_v=300.0,
        grid_voltage_max_v=380.0,
        grid_voltage_separation_v=10.0,
        grid_voltage_allowance_v=4.0,
        grid_voltage_drop_allowance_v=20.0,
        grid_voltage_step_v=10.0,  # W31: absent is no single jump of 350 V
        grid_current_step_a=1.0,
        grid_uvlo_mask_v=10.0,
        leak_allowance_per_unit_a=0.125,
        total_deal_current_max_a=100.0,
        topology=None,
        checkpoint_retries=3,
        checkpoint_wait_ns=100 * MS,
        ramp_up_timeout_ns=180_000 * MS,
        authorization_trials=4,
        scram_reference_delay_ns=5002 * MS,
        stop_me_timeout_ns=60_000 * MS,
        stop_me_check_period_ns=1001 * MS,
        data_acquisition_period_ns=5003 * MS,
        request_timeout_ns=5004 * MS,
        request_attempts=5,
        local_error_handling_period_ns=1000 * MS,
        local_quarantine_ns=30_000 * MS,
        housekeeping_period_ns=5005 * MS,
        deal_current_a=1.0,
        deal_energy_min_wh=50,
        deal_energy_max_wh=60,
        deal_energy_unit_wh=10,
        negotiation_timeout_ns=2000 * MS,
        metering_side=Direction.CHARGE,
        meter=Meter.BATTERY,
        deal_reset_limit=2,
        queue_limit_ns=1_800_000_000_000,
        discharge_soc_min_ratio=0.2,
        charge_soc_max_ratio=0.95,
        availability=False,
        grid_master_strategy=GridMasterStrategy.ANYWHERE,
        fixed_unit_id="Exxx",
        grid_master_heartbeat_ns=5006 * MS,
        main_loop_period_ns=5008 * MS,
        data_collection_period_ns=5007 * MS,
        data_collection_timeout_ns=2001 * MS,
        global_quarantine_ns=30_001 * MS,
        voltage_reference_side=Direction.DISCHARGE,
        take_over_dvg="actual",
        compensation_trials=6,
        compensation_drift_allowance_a=0.03,
        voltage_optimization_enabled=True,
    )
    assert policy.warnings == ()


def test_an_empty_file_lacks_exactly_the_required_keys():
    lacking = {problem.split(": ")[0] for problem in problems_of("{}")}
    required = {key.path for key in keys_of(Policy).values() if key.default is REQUIRED}
    assert lacking == required | {"safety.sumOfDealGridCurrentMaxA"}  # unless there are branches
    assert all(": required: " in problem for problem in problems_of("{}"))


def test_absent_keys_mean_what_they_meant_to_the_original():
    start = json.loads("\n".join(line.split(" //")[0] for line in TEXT.split("\n")))
    for path in [key.path for key in keys_of(Policy).values() if key.default is not REQUIRED]:
        *parents, leaf = path.split(".")
        part = start
        for parent in parents:
            part = part.get(parent, {})
        part.pop(leaf, None)
    start["safety"]["sumOfDealGridCurrentMaxA"] = 7
    policy = policy_of(json.dumps(start))
    assert policy.operation_mode is OperationMode.FORCE_STOP
    assert policy.large_capacity_unit_ids == ()
    assert policy.housekeeping_period_ns == 60_000 * MS
    assert policy.data_collection_timeout_ns == 2000 * MS
    assert policy.global_quarantine_ns == policy.local_quarantine_ns == 30_000 * MS
    assert policy.request_attempts == 3
    assert policy.voltage_reference_side is policy.metering_side is Direction.CHARGE
    assert policy.take_over_dvg == "theoretical"
    assert policy.grid_master_strategy is GridMasterStrategy.VOLTAGE_REFERENCE_UNIT
    assert policy.fixed_unit_id is None
    assert policy.voltage_optimization_enabled is False
    assert [str(w) for w in policy.warnings] == [
        'policy.json: operationMode: absent; taken as "stop", so nothing will trade'
    ]


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("autonomous", OperationMode.RUN),
        ("heteronomous", OperationMode.SOFT_STOP),
        ("stop", OperationMode.FORCE_STOP),
        ("manual", OperationMode.MANUAL),
    ],
)
def test_operation_modes(text, mode):
    assert policy_of(changed(('"stop"', f'"{text}"'))).operation_mode is mode


def test_our_own_keys():
    text = changed(
        ('"referenceSide"', '"meter" : "grid", "referenceSide"'),
        ('"gridUvloMaskV"', '"availability" : true, "gridVoltageStepV" : 2.5, "gridUvloMaskV"'),
    )
    policy = policy_of(text)
    assert policy.meter is Meter.GRID
    assert policy.availability is True
    assert policy.grid_voltage_step_v == 2.5


def test_every_problem_at_once():
    text = changed(
        ('"stop"', '"stopp"'),
        ('"E001","E002"', '"e001","E002"'),
        ('"gridUvloMaskV" : 10,', ""),
        ('"gridVoltageSeparationV" : 10', '"gridVoltageSeparationV" : 20'),
        ('"checkpoint" : {', '"checkpoint" : 3, "checkpoints" : {'),
        ('"houseKeepingPeriodMsec"', '"housekeepingPeriodMsec"'),
        ('"user" : {', '"user" : { "amountMinWh" : 3,'),
        ('"amountMinWh" : 50', '"amountMinWh" : "50"'),
        ('"chargeUnitUpperLimitRsoc" : 95', '"chargeUnitUpperLimitRsoc" : 195'),
        ('"gridMaster" : {', '"gridMaster" : { "heloPeriodMsec" : 1, "x" : 0,'),
        ('"newestDeal"', "false"),
        ('"dischargeUnit"', '"discharge"'),
        ('"numberOfTrials" : 4', '"numberOfTrials" : 0'),
        ('"retryLimit" : 3', '"retryLimit" : -1'),
        ('"limitOfTrials" : 6', '"limitOfTrials" : -1'),
    )
    assert sorted(problems_of(text)) == [
        "controller.dcdc.checkpoint is 3, must be an object { ... }",
        'controller.dcdc.checkpoints is {"retryLimit": -1, "retryWaitMsec": 100}, '
        "unknown key; did you mean checkpoint?",
        "controller.dcdc.voltageReference.authorization.numberOfTrials is 0, "
        "must be a whole number of at least 1",
        "gridMaster.currentCompensation.limitOfTrials is -1, must be a whole number of at least 0",
        "gridMaster.deal.forceStopCondition.chargeUnitUpperLimitRsoc is 195, "
        "must be a number from 0 to 100",
        "gridMaster.heloPeriodMsec: stands twice; keep one",
        'gridMaster.voltageReferenceSide is "discharge", must be one of chargeUnit, dischargeUnit',
        "gridMaster.x is 0, unknown key",
        "gridUvloMaskV: required: a number of at least 0",
        "gridVoltageSeparationV is 20, must be at most a fifth of operationGridVoltageVRange, "
        "or no voltage is left to try",
        'mediator.deal.amountMinWh is "50", must be a whole number greater than 0',
        'memberUnitIds[0] is "e001", must be a unit id such as E001 (A-Z, 0-9, single _)',
        'operationMode is "stopp", must be one of autonomous, heteronomous, stop, manual',
        "user.amountMinWh is 3, unknown key; it belongs at mediator.deal.amountMinWh",
        "user.housekeepingPeriodMsec is 5005, unknown key; did you mean houseKeepingPeriodMsec?",
    ]


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('GridVoltageV" : 350', 'GridVoltageV" : 380', "operationGridVoltageV"),
        ('"amountMinWh" : 50', '"amountMinWh" : 61', "mediator.deal.amountMinWh"),
        ('"amountUnitWh" : 10', '"amountUnitWh" : 100', "mediator.deal.amountUnitWh"),
        ('"amountUnitWh" : 10', '"amountUnitWh" : 49', "mediator.deal.amountUnitWh"),
        ('"gridVoltageAllowanceV" : 4', '"gridVoltageAllowanceV" : 10', "gridVoltageAllowanceV"),
        ('LimitRsoc" : 20', 'LimitRsoc" : 95', f"{FORCE_STOP}.dischargeUnitLowerLimitRsoc"),
        ('"gridVoltageDropAllowanceV" : 20,', "", "gridVoltageDropAllowanceV"),
        ('"sumOfDealGridCurrentMaxA" : 100,', "", "safety.sumOfDealGridCurrentMaxA"),
        ('CurrentMaxA" : 100', 'CurrentMaxA" : 0.9', "safety.sumOfDealGridCurrentMaxA"),
        ('"E003","E004"]', '"E003","E001"]', "memberUnitIds"),
        ('["E001"],', '["E005"],', "largeCapacityUnitIds"),
        ('"anywhere"', '"fixed"', "gridMaster.gridMasterSelection.fixedUnitId"),
    ],
)  # fmt: skip
def test_rules_between_keys(old, new, key):
    (problem,) = problems_of(changed((old, new)))
    assert problem.startswith((f"{key} is ", f"{key}: required"))


def test_things_that_are_allowed_but_perhaps_not_meant():
    text = changed(
        ('"anywhere", "fixedUnitId" : "Exxx"', '"fixed", "fixedUnitId" : null'),
        ('"newestDeal"', '"longLastingDeal"'),
    )
    assert [warning.key for warning in policy_of(text).warnings] == [
        "gridMaster.gridMasterSelection.fixedUnitId",
        "gridMaster.masterDealSelection.strategy",
    ]


def test_branches():
    policy = policy_of(with_branches())
    assert policy.topology == (
        Branch("west", ("E001",), ("E002", "E003", "E004"), 10.0),
        Branch("east", ("E001", "E002", "E003"), ("E004",), 6.0),
    )
    assert policy.warnings == ()


def test_branches_make_the_total_limit_optional():
    text = with_branches().replace('"sumOfDealGridCurrentMaxA" : 100,', "")
    assert policy_of(text).total_deal_current_max_a is None


def test_a_unit_that_a_branch_leaves_out_is_a_warning():
    text = with_branches(('"E002", "E003", "E004"', '"E003"'))
    (warning,) = policy_of(text).warnings
    assert str(warning).endswith("branchAssociation.west: leaves out E002, E004")


def test_branches_that_contradict_each_other():
    text = with_branches(
        ('["west", "east"]', '["west", "west", "north"]'),
        ('["E001"]', '["E001", "E002", "E0O4"]'),
        ('"west" : 10.0,', '"west" : 10.0, "wets" : 1,'),
    )
    prefix = "safety.gridTopologyBasedEvaluation."
    assert sorted(problem.removeprefix(prefix) for problem in problems_of(text)) == [
        "branchAssociation.east: must be one of branchIds; did you mean west?",
        "branchAssociation.north: required: { forwardUnitIds, backwardUnitIds }",
        "branchAssociation.west: names E002 2 times; once is right",
        "branchAssociation.west: names E0O4, which is not one of memberUnitIds; "
        "did you mean E004?",
        "branchCurrentCapacityA.east: must be one of branchIds; did you mean west?",
        "branchCurrentCapacityA.north: required: a number greater than 0",
        "branchCurrentCapacityA.wets: must be one of branchIds; did you mean west?",
        "branchIds: names west 2 times; once is right",
    ]


def test_branches_of_the_wrong_shape():
    text = with_branches(
        ('"enabled" : true', '"enabled" : 1'),
        ('"forwardUnitIds"', '"forwardUnits"'),
        ('"east" : 6', '"east" : 0'),
    )
    prefix = "safety.gridTopologyBasedEvaluation."
    assert sorted(problem.removeprefix(prefix) for problem in problems_of(text)) == [
        "branchAssociation.west.forwardUnitIds: required: a list: text",
        'branchAssociation.west.forwardUnits is ["E001"], unknown key; '
        "did you mean forwardUnitIds?",
        "branchCurrentCapacityA.east is 0, must be a number greater than 0",
        "enabled is 1, must be true or false",
    ]


def test_branches_switched_on_but_not_given():
    (problem,) = problems_of(changed(('"enabled" : false', '"enabled" : true')))
    assert problem.endswith("branchIds: must name at least one branch")


def shuffled(value, rng):
    if isinstance(value, dict):
        items = [(key, shuffled(inner, rng)) for key, inner in value.items()]
        rng.shuffle(items)
        return dict(items)
    return value


def test_the_hash_does_not_depend_on_how_the_file_is_written():
    policy = policy_of(TEXT)
    plain = json.loads("\n".join(line.split(" //")[0] for line in TEXT.split("\n")))
    plain["gridMaster"]["gridVoltageOptimization"]["enabled"] = True
    for seed in range(10):
        again = policy_of(json.dumps(shuffled(plain, random.Random(seed)), indent=seed))
        assert policy_hash(again) == policy_hash(policy)
    spelled_out = changed(('"operationGridVoltageV" : 350', '"operationGridVoltageV" : 350.0'))
    assert policy_hash(policy_of(spelled_out)) == policy_hash(policy)


def test_the_hash_depends_on_every_value():
    policy = policy_of(with_branches())
    seen = {policy_hash(policy)}
    for field in dataclasses.fields(Policy):
        if field.name != "warnings":
            value = getattr(policy, field.name)
            another = value.opposite if isinstance(value, Direction) else "another"
            seen.add(policy_hash(dataclasses.replace(policy, **{field.name: another})))
    assert len(seen) == len(dataclasses.fields(Policy))
    assert len(policy_hash(policy)) == 64


def test_the_hash_has_the_spelling_that_units_of_older_versions_use():
    fields = json.loads(policy_text(policy_of(TEXT)))
    assert fields["reference_side"] == "chargeUnit"
    assert fields["voltage_reference_side"] == "dischargeUnit"
    assert "metering_side" not in fields


def test_warnings_do_not_change_the_hash():
    policy = policy_of(TEXT)
    assert policy_hash(dataclasses.replace(policy, warnings=("x",))) == policy_hash(policy)


def test_the_text_holds_only_what_json_knows():
    assert json.loads(policy_text(policy_of(with_branches())))["topology"][0]["id"] == "west"


def test_replace_members_keeps_what_still_holds():
    policy = policy_of(changed(('"Exxx"', '"E004"')))
    fewer = replace_members(policy, ["E002", "E001"])
    assert fewer.member_unit_ids == ("E002", "E001")
    assert fewer.large_capacity_unit_ids == ("E001",)
    assert fewer.fixed_unit_id is None
    assert fewer.deal_current_a == policy.deal_current_a
    assert replace_members(policy, ["E004", "E009"]).large_capacity_unit_ids == ()
    assert replace_members(policy, ["E004", "E009"]).fixed_unit_id == "E004"


def test_replace_members_keeps_branch_limits_only_while_they_see_every_unit():
    policy = policy_of(with_branches())
    fewer = replace_members(policy, ["E001", "E003"])
    assert fewer.topology == (Branch("west", ("E001",), ("E003",), 10.0),)
    assert fewer.total_deal_current_max_a == 100.0
    more = replace_members(policy, ["E001", "E004", "E005"])
    assert more.topology is None
    assert more.total_deal_current_max_a == 6.0
    one_side = replace_members(
        dataclasses.replace(policy, total_deal_current_max_a=None), ["E001"]
    )
    assert one_side.topology is None
    assert one_side.total_deal_current_max_a == 6.0


@pytest.mark.parametrize("name", ["policy.json", "large_policy.json"])
def test_our_own_files_are_right_and_trade_at_once(name):
    policy = parse_policy((ROOT / "config" / name).read_text(), name)
    assert policy.operation_mode is OperationMode.RUN
    assert policy.warnings == ()


def test_the_documentation_names_every_key():
    text = (ROOT / "docs" / "configuration.md").read_text()
    missing = [key.path for key in keys_of(Policy).values() if f"`{key.path}`" not in text]
    assert not missing


@pytest.mark.parametrize("written", ["50", "50.0", "5e1", "0.5E+2"])
def test_a_whole_number_may_have_a_point_or_an_exponent(written):
    text = changed(('"amountMinWh" : 50', f'"amountMinWh" : {written}'))
    assert policy_of(text) == policy_of(TEXT)


@pytest.mark.parametrize(
    ("leaf", "old", "new", "right"),
    [
        ("amountMinWh", "50", "50.5", "50.5, must be a whole number greater than 0"),
        ("gridCurrentA", "1", "1e308", "must be a number greater than 0, not beyond 1000000000"),
        ("gridCurrentA", "1", "1e999", "must be a number greater than 0"),
        ("amountMinWh", "50", "9" * 5000, "must be a whole number greater than 0"),
        ("heloPeriodMsec", "5001", "1e13", "must be a whole number from 1 to 31536000000"),
    ],
)
def test_numbers_that_make_no_sense_name_their_key(leaf, old, new, right):
    found = problems_of(changed((f'"{leaf}" : {old}', f'"{leaf}" : {new}')))
    (problem,) = (problem for problem in found if f"{leaf} is" in problem)
    assert right in problem
    assert len(problem) < 200


@pytest.mark.parametrize("path", ["checkpoint", "currentCompensation"])
def test_a_limit_below_0_is_an_error(path):
    old = {"checkpoint": '"retryLimit" : 3', "currentCompensation": '"limitOfTrials" : 6'}[path]

    (problem,) = problems_of(changed((old, old[:-1] + "-1")))

    assert path in problem
    assert problem.endswith("is -1, must be a whole number of at least 0")


def test_the_usual_limit_of_the_queue_leaves_the_hash_as_older_versions_have_it():
    policy = policy_of(TEXT)
    shorter = dataclasses.replace(policy, queue_limit_ns=1)

    assert "queue_limit" not in policy_text(policy)
    assert policy_hash(shorter) != policy_hash(policy)
