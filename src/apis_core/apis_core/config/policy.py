"""The cluster's policy, from the original's policy file: what all members agree on.

Durations are nanoseconds, shares of a battery are 0..1; the file has milliseconds and percent.
Voltages, currents and energies are V, A and Wh in both.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, MinLen
from pydantic import StringConstraints

from apis_core.config.branches import TOPOLOGY_KEY, Branch, read_branches, restrict_branches
from apis_core.config.jsonc import parse_object
from apis_core.config.policy_rules import POLICY_RULES
from apis_core.config.validation import (
    Flag,
    Key,
    Milliseconds,
    Number,
    Percent,
    Positive,
    UnitIdText,
    Whole,
    choice,
    read_fields,
)
from apis_core.model.errors import ConfigError, Problem
from apis_core.model.types import Direction, GridMasterStrategy, Meter, OperationMode, UnitId
from apis_core.model.units import ns_from_s

__all__ = [
    "METER_NAMES",
    "MODE_NAMES",
    "SIDE_NAMES",
    "USUAL_VALUES",
    "Branch",
    "Policy",
    "parse_policy",
    "policy_hash",
    "policy_text",
    "replace_members",
]

_DEAL = "mediator.deal"
_DCDC = "controller.dcdc"
_FORCE_STOP = "gridMaster.deal.forceStopCondition"
_SELECTION = "gridMaster.gridMasterSelection"

_QUEUE_LIMIT_MS = 30 * 60 * 1000

# Units of older versions do not know these: at its usual value such a field is not written.
USUAL_VALUES: Mapping[str, object] = {"queue_limit_ns": ns_from_s(_QUEUE_LIMIT_MS / 1000)}

_MODES = {
    "autonomous": OperationMode.RUN,
    "heteronomous": OperationMode.SOFT_STOP,
    "stop": OperationMode.FORCE_STOP,
    "manual": OperationMode.MANUAL,
}
_METERS = {"battery": Meter.BATTERY, "grid": Meter.GRID}
_SIDES = {"chargeUnit": Direction.CHARGE, "dischargeUnit": Direction.DISCHARGE}
MODE_NAMES = {mode: name for name, mode in _MODES.items()}  # as the file has them
METER_NAMES = {meter: name for name, meter in _METERS.items()}
SIDE_NAMES = {side: name for name, side in _SIDES.items()}

NonNegative = Annotated[Number, Ge(0)]
Energy = Annotated[Whole, Gt(0)]  # [Wh]
Trials = Annotated[Whole, Ge(1)]
UnitIds = tuple[UnitIdText, ...]
Mode = Annotated[OperationMode, choice(_MODES)]
CountedAt = Annotated[Meter, choice(_METERS)]
Side = Annotated[Direction, choice(_SIDES)]  # one of the two units of a deal
OneUnit = Annotated[UnitId, StringConstraints(max_length=32)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What all members agree on.

    Each field's annotation names its key in the file, with the type, range and default that hold
    *there*; ``docs/configuration.md`` says what each is for. Two fields have no key of their own:
    ``topology``, None unless the file switches it on, and ``warnings``, what the file's author may
    want to look at.
    """

    # The file
    version: Annotated[Whole, Ge(0), Key("version", 0)]  # ours; the greater one is newer
    refresh_period_ns: Annotated[Milliseconds, Key("refreshingPeriodMsec", 5000)]

    # Members
    operation_mode: Annotated[
        Mode, Key("operationMode", "stop")
    ]  # until an operator says otherwise
    member_unit_ids: Annotated[UnitIds, MinLen(1), Key("memberUnitIds")]
    large_capacity_unit_ids: Annotated[UnitIds, Key("largeCapacityUnitIds", ())]
    hello_period_ns: Annotated[Milliseconds, Key("heloPeriodMsec", 5000)]

    # The bus
    grid_voltage_v: Annotated[Positive, Key("operationGridVoltageV")]
    grid_voltage_min_v: Annotated[Positive, Key("operationGridVoltageVRange.min")]
    grid_voltage_max_v: Annotated[Positive, Key("operationGridVoltageVRange.max")]
    grid_voltage_separation_v: Annotated[Positive, Key("gridVoltageSeparationV")]
    grid_voltage_allowance_v: Annotated[Positive, Key("gridVoltageAllowanceV")]
    grid_voltage_drop_allowance_v: Annotated[
        NonNegative | None, Key("gridVoltageDropAllowanceV", None)
    ]
    grid_voltage_step_v: Annotated[
        Positive, Key("gridVoltageStepV", None)
    ]  # None = the separation
    grid_current_step_a: Annotated[Positive, Key("gridCurrentStepA")]
    grid_uvlo_mask_v: Annotated[NonNegative, Key("gridUvloMaskV")]

    # Safety
    leak_allowance_per_unit_a: Annotated[
        Positive, Key("safety.sumOfDealingUnitGridCurrentAllowancePerUnitA")
    ]
    total_deal_current_max_a: Annotated[
        Positive | None, Key("safety.sumOfDealGridCurrentMaxA", None)
    ]
    topology: tuple[Branch, ...] | None = None

    # The unit's own work
    checkpoint_retries: Annotated[Whole, Ge(0), Key(f"{_DCDC}.checkpoint.retryLimit")]
    checkpoint_wait_ns: Annotated[Milliseconds, Key(f"{_DCDC}.checkpoint.retryWaitMsec")]
    ramp_up_timeout_ns: Annotated[
        Milliseconds, Key(f"{_DCDC}.voltageReference.rampUp.first.timeoutMsec")
    ]
    authorization_trials: Annotated[
        Trials, Key(f"{_DCDC}.voltageReference.authorization.numberOfTrials")
    ]
    scram_reference_delay_ns: Annotated[
        Milliseconds, Key("controller.scramVoltageReferenceDelayMsec", 5000)
    ]
    stop_me_timeout_ns: Annotated[Milliseconds, Key("controller.stopMeTimeoutMsec", 60_000)]
    stop_me_check_period_ns: Annotated[Milliseconds, Key("controller.stopMeCheckPeriodMsec", 1000)]
    data_acquisition_period_ns: Annotated[
        Milliseconds, Key("controller.dataAcquisitionPeriodMsec", 5000)
    ]
    request_timeout_ns: Annotated[Milliseconds, Key("controller.requestTimeoutMsec", 5000)]
    request_attempts: Annotated[Trials, Key("controller.retryLimit", 3)]
    local_error_handling_period_ns: Annotated[
        Milliseconds, Key("user.errorHandlingPeriodMsec", 1000)
    ]
    local_quarantine_ns: Annotated[Milliseconds, Key("user.errorSustainingMsec", 30_000)]
    housekeeping_period_ns: Annotated[Milliseconds, Key("user.houseKeepingPeriodMsec", 60_000)]

    # Deals
    deal_current_a: Annotated[Positive, Key(f"{_DEAL}.gridCurrentA")]
    deal_energy_min_wh: Annotated[Energy, Key(f"{_DEAL}.amountMinWh")]
    deal_energy_max_wh: Annotated[Energy, Key(f"{_DEAL}.amountMaxWh")]
    deal_energy_unit_wh: Annotated[Energy, Key(f"{_DEAL}.amountUnitWh")]
    negotiation_timeout_ns: Annotated[Milliseconds, Key("mediator.negotiationTimeoutMsec", 2000)]
    metering_side: Annotated[Side, Key("gridMaster.deal.referenceSide", "chargeUnit")]
    meter: Annotated[CountedAt, Key("gridMaster.deal.meter", "battery")]  # ours
    deal_reset_limit: Annotated[Whole, Ge(0), Key("gridMaster.deal.resetLimit")]
    queue_limit_ns: Annotated[
        Milliseconds, Key("gridMaster.deal.queueLimitMsec", _QUEUE_LIMIT_MS)
    ]  # ours
    discharge_soc_min_ratio: Annotated[Percent, Key(f"{_FORCE_STOP}.dischargeUnitLowerLimitRsoc")]
    charge_soc_max_ratio: Annotated[Percent, Key(f"{_FORCE_STOP}.chargeUnitUpperLimitRsoc")]

    # The grid master
    availability: Annotated[Flag, Key("availability", False)]  # ours
    grid_master_strategy: Annotated[
        GridMasterStrategy, Key(f"{_SELECTION}.strategy", "voltageReferenceUnit")
    ]
    fixed_unit_id: Annotated[OneUnit | None, Key(f"{_SELECTION}.fixedUnitId", None)]
    grid_master_heartbeat_ns: Annotated[Milliseconds, Key("gridMaster.heloPeriodMsec", 5000)]
    main_loop_period_ns: Annotated[Milliseconds, Key("gridMaster.mainLoopPeriodMsec", 5000)]
    data_collection_period_ns: Annotated[
        Milliseconds, Key("gridMaster.dataCollectionPeriodMsec", 5000)
    ]
    data_collection_timeout_ns: Annotated[
        Milliseconds, Key("gridMaster.dataCollectionTimeoutMsec", 2000)
    ]
    global_quarantine_ns: Annotated[Milliseconds, Key("gridMaster.errorSustainingMsec", 30_000)]
    voltage_reference_side: Annotated[Side, Key("gridMaster.voltageReferenceSide", "chargeUnit")]
    take_over_dvg: Annotated[
        Literal["theoretical", "actual"],
        Key("gridMaster.voltageReferenceTakeOverDvg", "theoretical"),
    ]
    compensation_trials: Annotated[
        Whole, Ge(0), Key("gridMaster.currentCompensation.limitOfTrials")
    ]
    compensation_drift_allowance_a: Annotated[
        Positive, Key("gridMaster.currentCompensation.driftAllowanceA")
    ]
    voltage_optimization_enabled: Annotated[
        Flag, Key("gridMaster.gridVoltageOptimization.enabled", False)
    ]

    warnings: tuple[Problem, ...] = dataclasses.field(default=(), compare=False)


# Keys of the original that nothing here reads: the journal is written when something happens, and
# the election needs no waits of its own.
_UNREAD = (
    "mediator.dealLoggingPeriodMsec",
    "gridMaster.masterDealSelection.strategy",
    "gridMaster.gridMasterEnsuring.interlockInconsistency.retryWaitMsec",
    "gridMaster.gridMasterWatching.absence.ensureWaitMsec",
    TOPOLOGY_KEY,
)


def parse_policy(text: str, source: str) -> Policy:
    """Read a policy file.

    Args:
        text: Its content: JSON with comments, as the original has it.
        source: Its name, as the user gave it; stands in every problem.

    Raises:
        ConfigError: Lists everything that is wrong.
    """
    data, problems = parse_object(text, source)
    reading = read_fields(Policy, data, source, unread=_UNREAD)
    values = reading.values
    problems += reading.problems
    topology, branch_problems, warnings = read_branches(
        data, source, values.get("member_unit_ids")
    )
    if not branch_problems:
        values["topology"] = topology
    problems += branch_problems
    problems += reading.broken(POLICY_RULES)
    if problems:
        raise ConfigError(problems)
    if values["grid_voltage_step_v"] is None:
        values["grid_voltage_step_v"] = values["grid_voltage_separation_v"]
    policy = Policy(**values)
    return dataclasses.replace(policy, warnings=(*warnings, *_warnings(policy, data, source)))


def _warnings(policy: Policy, data: dict[str, Any], source: str) -> Iterator[Problem]:
    if data.get("operationMode") is None:
        yield Problem(
            source, "operationMode", "", 'absent; taken as "stop", so nothing will trade'
        )
    if policy.grid_master_strategy is GridMasterStrategy.FIXED and policy.fixed_unit_id is None:
        right = "absent although the strategy is fixed; taken as voltageReferenceUnit"
        yield Problem(source, f"{_SELECTION}.fixedUnitId", "", right)
    master_deal = data.get("gridMaster", {}).get("masterDealSelection") or {}
    if (strategy := master_deal.get("strategy", "newestDeal")) != "newestDeal":
        key = "gridMaster.masterDealSelection.strategy"
        yield Problem(
            source, key, json.dumps(strategy), "taken as newestDeal, the only one there is"
        )


def policy_text(policy: Policy) -> str:
    """Canonical text: equal policies have equal texts, however their files are written.

    Units of other versions compare its hash with theirs, so what stands in it keeps its spelling.
    """
    fields = dataclasses.asdict(policy)
    del fields["warnings"]
    for name, usual in USUAL_VALUES.items():
        if fields[name] == usual:
            del fields[name]
    fields["reference_side"] = SIDE_NAMES[fields.pop("metering_side")]
    fields["voltage_reference_side"] = SIDE_NAMES[policy.voltage_reference_side]
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), default=_plain)


@lru_cache(maxsize=8)
def policy_hash(policy: Policy) -> str:
    """SHA-256 of the canonical text, in hex: what members compare before they deal."""
    return hashlib.sha256(policy_text(policy).encode()).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"no canonical text of {value!r}")


def replace_members(policy: Policy, unit_ids: Sequence[UnitId]) -> Policy:
    """The same policy for other members, for grids of another size.

    Units that are gone are no longer preferred, and no fixed grid master. Branch limits stay only
    if they still say of every unit where it stands; else the weakest branch becomes the limit of
    the whole grid, which is on the safe side.
    """
    members = tuple(unit_ids)
    changes: dict[str, Any] = {
        "member_unit_ids": members,
        "large_capacity_unit_ids": tuple(
            u for u in policy.large_capacity_unit_ids if u in members
        ),
    }
    if policy.fixed_unit_id not in members:
        changes["fixed_unit_id"] = None  # the strategy `fixed` then falls back by itself
    if policy.topology:
        changes["topology"] = restrict_branches(policy.topology, members)
        if changes["topology"] is None:
            limits = [branch.capacity_a for branch in policy.topology]
            if policy.total_deal_current_max_a is not None:
                limits.append(policy.total_deal_current_max_a)
            changes["total_deal_current_max_a"] = min(limits)
    return dataclasses.replace(policy, **changes)
