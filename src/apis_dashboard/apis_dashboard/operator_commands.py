"""The operator's commands: every order passes here, through the :mod:`log of orders
<apis_dashboard.order_log>`; and what goes on without any open page: history, scheduled Soft stops,
the watch over converters that are held by hand.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from apis_dashboard import formatting
from apis_dashboard.access import Identity, Role
from apis_dashboard.audit import Audit
from apis_dashboard.grid_source import (
    BreakWish,
    ConverterWish,
    DealWish,
    FaultWish,
    Outcome,
    Source,
)
from apis_dashboard.history import History, Schedule
from apis_dashboard.manual_control import ManualControl, Setting, Stage, why_not
from apis_dashboard.model import GridView
from apis_dashboard.order_log import Order, OrderLog, Refused
from apis_dashboard.records import ConverterMode, Mode

__all__ = ["EmergencyStop", "OperatorCommands"]

TICK_S = 0.1  # while converters are stopped or held by hand
HISTORY_S = 1.0
REFERENCE_AFTER_S = 1.0  # in an emergency stop the currents go first, by so much at most
MISSED_AFTER_S = 24 * 3600.0  # a schedule that is later than that is dropped


@dataclass
class EmergencyStop:
    """All converters off, without asking the grid master."""

    who: str
    began_s: float
    replies: dict[str, str]  # what each converter's driver said; "" = nothing yet
    late_ids: list[str]  # voltage references, which go last


class OperatorCommands:
    """See the module.

    Args:
        source: The grid.
        history: Where the past is kept.
        audit: Where orders are written down.
        is_open: Whether a session is still open; asked at every order.
    """

    def __init__(
        self,
        source: Source,
        history: History,
        audit: Audit,
        *,
        is_open: Callable[[Identity], bool] = lambda _: True,
    ) -> None:
        self.source = source
        self.history = history
        self.audit = audit
        self.is_open = is_open
        self.stop_order: EmergencyStop | None = None
        self.manual_control = ManualControl()
        self._lock = threading.RLock()
        self._log = OrderLog(audit, lambda who: self.is_open(who))
        self._looked_s = 0.0
        self._ending = threading.Event()
        self._stirred = threading.Event()  # there is something to watch
        self._thread = threading.Thread(target=self._run, name="commands", daemon=True)

    def start(self) -> None:
        """Begin to do what goes on by itself."""
        self._thread.start()

    def stop(self) -> None:
        """End it; converters that are held by hand go to WAIT."""
        self._ending.set()
        self._stirred.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            self._carry_out(
                self.manual_control.stop(self.source.view(), time.monotonic(), "the end")
            )
        self.history.close()

    def orders(self) -> list[Order]:
        """The last ones, the newest first."""
        return self._log.orders()

    # --- orders ----------------------------------------------------------------------------------

    def set_mode(self, who: Identity, mode: Mode, unit_id: str = "") -> None:
        """Order a mode for the cluster or for one unit."""
        whom = unit_id or "the cluster"
        what = (
            f"{whom}: follow the cluster's mode"
            if mode is Mode.UNSET
            else f"{whom}: mode {formatting.MODE_WORDS[mode]}"
        )
        order = self._log.begin(who, what)
        self.source.set_mode(mode, unit_id)
        if mode is not Mode.UNSET and mode is not Mode.RUN:
            self.history.clear_schedule(unit_id)
        self._log.end(order, Outcome(True, "sent"))

    def emergency_stop(self, who: Identity) -> None:
        """Force stop for all, and WAIT straight to every converter: works without a grid master.

        Never held up by the pace of orders.
        """
        order = self._log.begin(who, "EMERGENCY STOP", is_urgent=True)
        view = self.source.view()
        self.source.set_mode(Mode.FORCE_STOP)
        holders = {
            unit.unit_id
            for unit in view.units
            if unit.converter and unit.converter.mode is ConverterMode.VOLTAGE_REFERENCE
        }
        with self._lock:
            self.stop_order = EmergencyStop(
                who.name,
                time.monotonic(),
                {unit.unit_id: "" for unit in view.units},
                sorted(holders),
            )
        self._stirred.set()
        for unit in view.units:
            if unit.unit_id not in holders:
                self._wait_now(unit.unit_id)
        self._log.end(order, Outcome(True, f"told {len(view.units)} converters and all units"))

    def deal(self, who: Identity, wish: DealWish) -> None:
        """Make a deal by hand; how it ends stands in the list of orders."""
        price = (
            "no price" if wish.price_point_per_wh is None else f"{wish.price_point_per_wh:g} pt/Wh"
        )
        amps = "" if wish.current_a is None else f" at {wish.current_a:g} A"
        order = self._log.begin(
            who,
            f"deal {wish.giver_id} → {wish.taker_id}: {wish.energy_wh:g} Wh{amps}, {price}",
        )
        self._log.follow(
            order,
            self.source.deal(
                wish, lambda deal_id: self._log.tell(order, f"under way as {deal_id}")
            ),
        )

    def end_deal(self, who: Identity, deal_id: str) -> None:
        """End a deal that was made by hand."""
        self._log.follow(
            self._log.begin(who, f"end deal {deal_id}"), self.source.end_deal(deal_id)
        )

    def report_fault(self, who: Identity, wish: FaultWish) -> None:
        """Tell all of a fault that nobody has."""
        what = (
            f"fault of {wish.unit_id}: {wish.category.name} {wish.extent.name} "
            f"{wish.level.name} {wish.message!r}"
        )
        order = self._log.begin(who, what, needs=Role.MAINTAINER)
        self.source.report_fault(wish)
        self._log.end(order, Outcome(True, "told all units"))

    def break_hardware(self, who: Identity, wish: BreakWish) -> None:
        """Break something of the emulated hardware."""
        order = self._log.begin(
            who, f"break {formatting.break_words(wish)}", needs=Role.MAINTAINER
        )
        self._log.follow(order, self.source.break_hardware(wish))

    def repair(self, who: Identity, fault_id: str) -> None:
        """Repair it; an empty id = all that is broken."""
        what = f"repair {fault_id or 'all that is broken'}"
        order = self._log.begin(who, what, needs=Role.MAINTAINER)
        self._log.follow(order, self.source.repair(fault_id))

    def shut_down(self, who: Identity, unit_ids: tuple[str, ...]) -> None:
        """End the programs of some units."""
        for unit_id in unit_ids:
            order = self._log.begin(
                who, f"shut down {unit_id}", needs=Role.MAINTAINER, is_urgent=True
            )
            self._log.follow(order, self.source.shut_down(unit_id), "is ending")

    def set_log_level(self, who: Identity, unit_ids: tuple[str, ...], level: str) -> None:
        """Choose how much some units' programs write."""
        for unit_id in unit_ids:
            order = self._log.begin(
                who,
                f"log level of {unit_id}: {level}",
                needs=Role.MAINTAINER,
                is_urgent=True,
            )
            self._log.follow(order, self.source.set_log_level(unit_id, level), "set")

    def flush(self, who: Identity) -> None:
        """Forget what was heard, and ask again."""
        order = self._log.begin(who, "read everything again")
        self.source.flush()
        self._log.end(order, Outcome(True, "asked"))

    def set_schedule(self, who: Identity, unit_id: str, due_s: float) -> None:
        """Order a Soft stop for later.

        Args:
            who: Who orders.
            unit_id: Empty = the cluster.
            due_s: ROS time. [s]
        """
        now_s = self.source.view().ros_time_s or 0.0
        if due_s <= now_s:
            raise Refused("the time must lie ahead of the grid's clock")
        when = formatting.date_time(due_s, self.source.site.zone)
        order = self._log.begin(who, f"Soft stop of {unit_id or 'the cluster'} on {when}")
        self.history.set_schedule(Schedule(unit_id, due_s, who.name))
        self._log.end(order, Outcome(True, "scheduled"))

    def clear_schedule(self, who: Identity, unit_id: str) -> None:
        """Forget a scheduled Soft stop."""
        order = self._log.begin(who, f"no scheduled Soft stop of {unit_id or 'the cluster'}")
        self.history.clear_schedule(unit_id)
        self._log.end(order, Outcome(True, "cleared"))

    def start_manual_control(self, who: Identity, settings: Mapping[str, Setting]) -> None:
        """Hold converters on by hand, until :meth:`release` or silence."""
        view = self.source.view()
        reasons = why_not(settings, view, self.source.site)
        if reasons:
            raise Refused(" ".join(reasons))
        if self.manual_control.stage is not Stage.IDLE:
            raise Refused(f"{self.manual_control.who} is at it")
        words = "; ".join(
            f"{unit_id} {formatting.CONVERTER_WORDS[s.mode]}"
            + (f" {s.grid_voltage_v:g} V" if s.grid_voltage_v is not None else "")
            + (f" {s.grid_current_a:g} A" if s.grid_current_a is not None else "")
            for unit_id, s in settings.items()
            if s.mode is not ConverterMode.WAIT
        )
        order = self._log.begin(who, f"by hand: {words}", needs=Role.MAINTAINER)
        with self._lock:
            self._carry_out(self.manual_control.start(settings, view, who.name, time.monotonic()))
        self._stirred.set()
        self._log.end(order, Outcome(True, "on while the button is held"))

    def renew_manual_control(self) -> None:
        """The button is still held."""
        self.manual_control.renew(time.monotonic())

    def stop_manual_control(self) -> None:
        """The button was let go. Anybody may, always."""
        with self._lock:
            wishes = self.manual_control.stop(self.source.view(), time.monotonic())
            if wishes or self.manual_control.stage is Stage.STOPPING:
                self.audit.note(self.manual_control.who, "by hand: let go")
            self._carry_out(wishes)

    # --- in the background -----------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ending.is_set():
            self._stirred.wait(TICK_S if self._is_watching else HISTORY_S)
            self._stirred.clear()
            try:
                self.tick()
            except Exception:  # one bad look must not end the watch over held converters
                traceback.print_exc(file=sys.stderr)

    @property
    def _is_watching(self) -> bool:
        stop = self.stop_order
        return self.manual_control.stage is not Stage.IDLE or bool(stop and stop.late_ids)

    def tick(self) -> None:
        """Do what is due; called by its own thread."""
        now_s = time.monotonic()
        view: GridView | None = None
        with self._lock:
            stop = self.stop_order
            if stop is not None and stop.late_ids and now_s - stop.began_s > REFERENCE_AFTER_S:
                late, stop.late_ids = stop.late_ids, []
                for unit_id in late:
                    self._wait_now(unit_id)
            if self.manual_control.stage is not Stage.IDLE:
                view = self.source.view()
                self._carry_out(self.manual_control.tick(view, now_s))
        if now_s - self._looked_s >= HISTORY_S:
            self._looked_s = now_s
            view = view or self.source.view()
            self.history.take(view)
            self.keep_schedules(view)

    def keep_schedules(self, view: GridView) -> None:
        """Give the orders whose time has come."""
        for schedule in self.history.schedules():
            late_s = (view.ros_time_s or 0.0) - schedule.due_s
            if late_s < 0.0:
                continue
            self.history.clear_schedule(schedule.unit_id)
            whom = schedule.unit_id or "the cluster"
            what = f"Soft stop of {whom}, scheduled by {schedule.who}"
            if late_s > MISSED_AFTER_S:
                self.audit.note("schedule", what, "missed: nobody was here at the time")
                continue
            statuses = [u.status for u in view.units if u.status is not None]
            modes = {
                s.effective_mode if schedule.unit_id else s.global_mode
                for s in statuses
                if schedule.unit_id in ("", s.unit_id)
            }
            if Mode.RUN not in modes:
                self.audit.note("schedule", what, "not needed: it does not run")
                continue
            self.audit.note("schedule", what)
            self.source.set_mode(Mode.SOFT_STOP, schedule.unit_id)

    def _carry_out(self, wishes: list[ConverterWish]) -> None:
        for wish in wishes:
            self.source.order(wish).add_done_callback(
                lambda done, wish=wish: self._heard(wish, done.result())  # type: ignore[misc]
            )

    def _heard(self, wish: ConverterWish, outcome: Outcome) -> None:
        if outcome.is_done:
            return
        if wish.mode is not ConverterMode.WAIT:
            # not here: this may be called while its own lock is held by another thread
            threading.Thread(
                target=self._abandon_manual_control, args=(wish.unit_id, outcome.text), daemon=True
            ).start()
        else:
            self.audit.note("by hand", f"{wish.unit_id}: WAIT", outcome.text)

    def _abandon_manual_control(self, unit_id: str, words: str) -> None:
        with self._lock:
            view = self.source.view()
            self._carry_out(self.manual_control.refused(unit_id, words, view, time.monotonic()))
        self.audit.note("by hand", f"{unit_id} refused", words)

    def _wait_now(self, unit_id: str) -> None:
        def heard(done: Future[Outcome]) -> None:
            outcome = done.result()
            words = "off" if outcome.is_done else outcome.text
            if self.stop_order is not None:
                self.stop_order.replies[unit_id] = words
            self.audit.note("emergency stop", f"{unit_id}: WAIT", words)

        wish = ConverterWish(unit_id=unit_id, mode=ConverterMode.WAIT)
        self.source.order(wish).add_done_callback(heard)
