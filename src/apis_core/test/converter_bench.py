"""What tests of the converter's manager share: orders, deals and readings of unit E001."""

from __future__ import annotations

import math

from apis_core.events import Command
from apis_core.model.messages import (
    ControlRequest,
    ConverterOperation,
    ConverterOrder,
    ConverterReading,
    ConverterReply,
    Deal,
)
from apis_core.model.origin import Asker, Origin
from apis_core.model.types import ControlError, ControlOperation, ConverterMode, Direction
from apis_core.model.units import SECOND_NS as S

CHARGE, DISCHARGE = Direction.CHARGE, Direction.DISCHARGE
Op, M = ControlOperation, ConverterMode
HOLD_NS = 20 * S
RETRY_NS = 1 * S
DRIVER_HOLD_S = 5.0
_S_PER_WH = 5.0  # at 2 A and 350 V

# an order of our own, obeyed whatever terms the driver has seen
WAIT = ConverterOrder(operation=ConverterOperation.MODE, mode=M.WAIT)
READ = ConverterOrder(operation=ConverterOperation.READ)


def reading(mode=M.WAIT, stamp_ns=0, **changes):
    """A reading on a dead bus in WAIT, and on one that is up in any other mode."""
    bus = {"grid_voltage_v": 350.0 if mode.is_active else 0.0}
    return ConverterReading(mode=mode, stamp_ns=stamp_ns, **{**bus, **changes})


def order(operation, **changes):
    """An order of the grid master E009 for deal d that lacks nothing."""
    needs = {
        Op.VOLTAGE_REFERENCE: {"grid_voltage_v": 350.0},
        Op.VOLTAGE: {"grid_voltage_v": 340.0},
        Op.WILL_TAKE_OVER: {"grid_voltage_v": 350.0},
        Op.CHARGE: {"grid_current_a": 2.0},
        Op.DISCHARGE: {"grid_current_a": 2.0},
        Op.CURRENT: {"grid_current_a": 1.5},
    }.get(operation, {})
    fields = {"grid_master_id": "E009", "term": 3, "deal_id": "d", "hold_ns": HOLD_NS}
    return ControlRequest(operation=operation, **{**fields, **needs, **changes})


def deal(direction=CHARGE, deal_id="d", **changes):
    """A deal in which E001 has that direction; None = it has no part in it."""
    sides = {CHARGE: ("E002", "E001"), DISCHARGE: ("E001", "E002"), None: ("E002", "E003")}[
        direction
    ]
    fields = {"energy_wh": 50.0, "current_a": 2.0, **changes}
    return Deal(
        deal_id=deal_id,
        request_unit_id=sides[0],
        accept_unit_id=sides[1],
        discharge_unit_id=sides[0],
        charge_unit_id=sides[1],
        **fields,
    )


def origin(number):
    """Of the manager's order of that number."""
    return Origin(Asker.CONVERTER_MANAGER, number)


def orders(effects):
    return [effect.order for effect in effects if isinstance(effect, Command)]


def charged(manager, charged_wh, mode=M.CHARGE, **changes):
    """The reading once so much has come: later than the last by as long as full current takes."""
    last = manager.reading
    takes_ns = max(round(_S_PER_WH * S * (charged_wh - (last.grid_charged_wh or 0.0))), 1)
    counters = {"grid_discharged_wh": 0.0, "grid_charged_wh": charged_wh}
    return reading(mode, last.stamp_ns + takes_ns, **{**counters, **changes})


def flowed(manager, charged_wh, **changes):
    """So much has come, and it was read at every 10 Wh; what its manager then wants."""
    effects = []
    steps_wh = range(10, math.ceil(charged_wh), 10)
    for known_wh in (wh for wh in steps_wh if wh > (manager.reading.grid_charged_wh or 0.0)):
        effects += manager.hear_reading(charged(manager, float(known_wh)), 0)
    return effects + manager.hear_reading(charged(manager, charged_wh, **changes), 0)


def run(manager, mode, now_ns=0, *, direction=None, **changes):
    """Bring the manager's converter into an active mode by a lawful order."""
    operation = {
        M.CHARGE: Op.CHARGE,
        M.DISCHARGE: Op.DISCHARGE,
        M.VOLTAGE_REFERENCE: Op.VOLTAGE_REFERENCE,
    }[mode]
    direction = direction or (DISCHARGE if mode is M.DISCHARGE else CHARGE)
    manager.hear_reading(reading(), now_ns)
    (command,) = manager.obey("ask", order(operation, **changes), deal(direction), now_ns)
    counters = {"grid_charged_wh": 0.0, "grid_discharged_wh": 0.0}
    reply = ConverterReply(reading=reading(mode, stamp_ns=now_ns + 1, **counters))
    answer = manager.answered(command.origin, reply, None, now_ns)[-1]
    assert answer.reply.error is ControlError.NONE
    assert manager.reading.mode is mode
