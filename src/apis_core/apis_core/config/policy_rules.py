"""What must hold between the keys of a policy."""

from __future__ import annotations

from apis_core.config.validation import Rule
from apis_core.model.types import GridMasterStrategy

__all__ = ["POLICY_RULES"]

POLICY_RULES: tuple[Rule, ...] = (
    (
        "operationGridVoltageV",
        lambda grid_voltage_min_v, grid_voltage_v, grid_voltage_max_v: (
            grid_voltage_min_v < grid_voltage_v < grid_voltage_max_v
        ),
        "must lie between operationGridVoltageVRange.min and .max",
    ),
    (
        # Authorisation needs a voltage to try besides the nominal one; see the protocol, 8.6.
        "gridVoltageSeparationV",
        lambda grid_voltage_min_v, grid_voltage_max_v, grid_voltage_separation_v: (
            grid_voltage_min_v + 5 * grid_voltage_separation_v <= grid_voltage_max_v
        ),
        "must be at most a fifth of operationGridVoltageVRange, or no voltage is left to try",
    ),
    (
        "gridVoltageAllowanceV",
        lambda grid_voltage_allowance_v, grid_voltage_separation_v: (
            grid_voltage_allowance_v < grid_voltage_separation_v
        ),
        "must be less than gridVoltageSeparationV, or neighbouring voltages look the same",
    ),
    (
        "mediator.deal.amountMinWh",
        lambda deal_energy_min_wh, deal_energy_max_wh: deal_energy_min_wh <= deal_energy_max_wh,
        "must not exceed amountMaxWh",
    ),
    (
        "mediator.deal.amountUnitWh",
        lambda deal_energy_min_wh, deal_energy_max_wh, deal_energy_unit_wh: (
            deal_energy_min_wh > deal_energy_max_wh
            or deal_energy_max_wh // deal_energy_unit_wh * deal_energy_unit_wh
            >= deal_energy_min_wh
        ),
        "must have a multiple between amountMinWh and amountMaxWh",
    ),
    (
        "gridMaster.deal.forceStopCondition.dischargeUnitLowerLimitRsoc",
        lambda discharge_soc_min_ratio, charge_soc_max_ratio: (
            discharge_soc_min_ratio < charge_soc_max_ratio
        ),
        "must be less than chargeUnitUpperLimitRsoc",
    ),
    (
        "safety.sumOfDealGridCurrentMaxA",
        lambda total_deal_current_max_a, topology: (
            total_deal_current_max_a is not None or topology is not None
        ),
        "required: a number greater than 0, unless gridTopologyBasedEvaluation is enabled",
    ),
    (
        "safety.sumOfDealGridCurrentMaxA",
        lambda total_deal_current_max_a, deal_current_a: (
            total_deal_current_max_a is None or total_deal_current_max_a >= deal_current_a
        ),
        "must allow one deal, that is mediator.deal.gridCurrentA",
    ),
    (
        "gridVoltageDropAllowanceV",
        lambda grid_voltage_drop_allowance_v, voltage_optimization_enabled: (
            grid_voltage_drop_allowance_v is not None or not voltage_optimization_enabled
        ),
        "required: a number of at least 0, because gridVoltageOptimization is enabled",
    ),
    (
        "memberUnitIds",
        lambda member_unit_ids: len(set(member_unit_ids)) == len(member_unit_ids),
        "must name every unit once",
    ),
    (
        "largeCapacityUnitIds",
        lambda large_capacity_unit_ids, member_unit_ids: (
            set(large_capacity_unit_ids) <= set(member_unit_ids)
        ),
        "must all be among memberUnitIds",
    ),
    (
        # The original's sample names a stranger here, with a strategy that does not ask for it.
        "gridMaster.gridMasterSelection.fixedUnitId",
        lambda grid_master_strategy, fixed_unit_id, member_unit_ids: (
            grid_master_strategy is not GridMasterStrategy.FIXED
            or fixed_unit_id is None
            or fixed_unit_id in member_unit_ids
        ),
        "must be one of memberUnitIds",
    ),
)
