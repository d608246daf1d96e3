"""``apisctl deal``: a deal by hand, through the action, with its progress."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rclpy.action import ActionClient
from rclpy.task import Future
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from apis_bringup import tables
from apis_bringup.errors import CommandError, usage_error
from apis_bringup.graph import Graph
from apis_bringup.plain import constant_name
from apis_bringup.queries import APPEARS_WITHIN_S, STARTS_WITHIN_S, GridSession
from apis_bringup.records import deal_record
from apis_core.trading.negotiation import why_no_deal_size
from apis_interfaces.action import Interchange
from apis_interfaces.msg import Deal
from apis_ros.names import INTERCHANGE, in_unit, of_unit

__all__ = ["Wish", "make_deal"]

ANSWERS_WITHIN_S = 10.0  # wall
FOR_EVER_S = 1e6


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted; None = as the policy has it, or no price."""

    giver: str
    taker: str
    energy_wh: float
    current_a: float | None
    price: float | None


class _Stop:
    """Whether somebody pressed Ctrl-C."""

    asked = False


def make_deal(grid: GridSession, wish: Wish, *, as_json: bool) -> int:
    """Have the giver make a deal, and wait until it is over.

    Returns:
        0 if the agreed energy has moved, 1 if not, 130 if it was ended by Ctrl-C.

    Raises:
        ConfigError: A unit is not one of the grid's, or is named twice; a number makes no sense.
        CommandError: The unit does not answer, or nobody would make the deal.
    """
    if wish.giver == wish.taker:
        raise usage_error("TAKER", wish.taker, "must be another unit than the giver")
    for option, unit in (("GIVER", wish.giver), ("TAKER", wish.taker)):
        if grid.unit_ids and unit not in grid.unit_ids:
            known = ", ".join(sorted(grid.unit_ids))
            raise usage_error(option, unit, f"must be one of {known}")
    name, right = why_no_deal_size(wish.energy_wh, wish.current_a, wish.price)
    if name:
        option = {"energy_wh": "--energy-wh", "current_a": "--current-a"}.get(name, "--price")
        value = {"--energy-wh": wish.energy_wh, "--current-a": wish.current_a}
        raise usage_error(option, f"{value.get(option, wish.price):g}", right)
    with Graph(grid.cluster, grid.authenticator) as graph, _ctrl_c() as stop:
        graph.every(0.1, lambda: None)  # futures do not notify
        action: Any = ActionClient(graph.node, Interchange, of_unit(wish.giver, INTERCHANGE))
        try:
            result = _carry_out(graph, action, wish, stop, grid, as_json)
        finally:
            action.destroy()
    record = {
        "error": constant_name(Interchange.Result, "ERROR_", result.error_code).lower(),
        "error_msg": result.error_msg,
        "deal": deal_record(result.deal, grid.zone) if result.deal.deal_id else None,
    }
    if as_json:
        print(json.dumps(record, indent=1))
    elif record["deal"]:
        tables.deals([record["deal"]])
    if result.error_code == Interchange.Result.ERROR_NONE:
        return 0
    if result.error_code == Interchange.Result.ERROR_CANCELLED and stop.asked:
        return 130
    if not as_json:
        raise CommandError(result.error_msg or str(record["error"]))
    return 1


def _carry_out(
    graph: Graph, action: Any, wish: Wish, stop: _Stop, grid: GridSession, as_json: bool
) -> Any:
    within_s = STARTS_WITHIN_S if grid.is_here else APPEARS_WITHIN_S
    if not graph.wait_for(lambda: stop.asked or action.server_is_ready(), within_s=within_s):
        raise CommandError(f"{wish.giver} of the cluster {grid.cluster!r} does not answer")
    with _progress(wish, shown=not as_json) as show:
        channel = in_unit(grid.cluster, wish.giver, INTERCHANGE)
        goal = graph.authenticator.sign(_goal(wish), channel)
        handle = _answer(
            graph, action.send_goal_async(goal, lambda f: show(f.feedback.deal)), wish
        )
        if not handle.accepted:
            raise CommandError(f"{wish.giver} does not take orders for deals now")
        done = handle.get_result_async()
        graph.wait_for(lambda: stop.asked or done.done(), within_s=FOR_EVER_S)
        if not done.done():  # the deal is ended in order: its converters first
            handle.cancel_goal_async()
            if not graph.wait_for(done.done, within_s=STARTS_WITHIN_S):
                raise CommandError("the deal was told to end, and has not been heard of since")
        return done.result().result


def _goal(wish: Wish) -> Any:
    return Interchange.Goal(
        peer_unit_id=wish.taker,
        type=Interchange.Goal.TYPE_DISCHARGE,
        energy_wh=wish.energy_wh,
        current_a=math.nan if wish.current_a is None else wish.current_a,
        price_point_per_wh=math.nan if wish.price is None else wish.price,
    )


def _answer(graph: Graph, future: Future[Any], wish: Wish) -> Any:
    if not graph.wait_for(future.done, within_s=ANSWERS_WITHIN_S):
        raise CommandError(f"{wish.giver} has not answered in {ANSWERS_WITHIN_S:g} s")
    return future.result()


@contextmanager
def _progress(wish: Wish, *, shown: bool) -> Iterator[Any]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.1f} of {task.total:.0f} Wh"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(), disable=not shown) as bar:
        task = bar.add_task(f"{wish.giver} → {wish.taker}  asking", total=wish.energy_wh)

        def show(deal: Deal) -> None:
            state = constant_name(Deal, "STATE_", deal.state).lower().replace("_", " ")
            text = f"{wish.giver} → {wish.taker}  {state}"
            bar.update(task, completed=deal.moved_wh, description=text)

        yield show


@contextmanager
def _ctrl_c() -> Iterator[_Stop]:
    stop = _Stop()

    def on_signal(*_: object) -> None:
        stop.asked = True

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
