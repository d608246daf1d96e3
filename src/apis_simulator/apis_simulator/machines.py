"""The hardware of a run: the plant, and drivers that are at times slow, moody or silent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from apis_core import events as ev
from apis_core.model.messages import (
    BatteryReading,
    ConverterOperation,
    ConverterOrder,
    ConverterReading,
    ConverterReply,
    GridMasterClaim,
)
from apis_core.model.origin import Origin
from apis_core.model.types import ConverterError, StopCause, UnitId
from apis_core.model.units import SECOND_NS
from apis_emulator.driver import Driver
from apis_emulator.physics.plant import Plant
from apis_simulator.device_faults import DeviceFaults
from apis_simulator.faults import Profile
from apis_simulator.invariants import Invariants
from apis_simulator.process import Process
from apis_simulator.scenario_setup import Pace
from apis_simulator.timeline import Timeline

__all__ = ["Machines"]

DRIVER_LIMIT_NS = 5 * SECOND_NS  # a driver that has not answered by then does not
DEAD_BUS_V = 1.0
_ROUTINE = (ConverterOperation.READ, ConverterOperation.HOLD)  # not worth a line if obeyed

Feed = Callable[[Process, ev.Event], None]


class Machines:
    """Plant and drivers.

    Args:
        line: Clock and heap.
        plant: The hardware.
        invariants: Look at it after every step.
        profile: How bad the drivers are; replaced by a calm one when the faults are over.
        random: For the drivers' moods.
        feed: Gives an event to a process, if it lives.
        process_of: The process of a unit; None if it is dead.
        pace: How often readings come and the plant steps.
        is_plain: The converters know nothing of the bus and of each other.

    Attributes:
        driver: Of all converters.
        devices: What is wrong with meters, sensors, batteries and drivers.
        trips: How often a converter switched itself off to save itself.
    """

    def __init__(
        self,
        *,
        line: Timeline,
        plant: Plant,
        invariants: Invariants,
        profile: Profile,
        random: Random,
        feed: Feed,
        process_of: Callable[[UnitId], Process | None],
        pace: Pace,
        is_plain: bool = False,
    ) -> None:
        self.profile = profile
        self.trips = 0
        self._line = line
        self._plant = plant
        self._invariants = invariants
        self._random = random
        self._feed = feed
        self._process_of = process_of
        self._pace = pace
        self.driver = Driver(plant, is_plain=is_plain)
        self.devices = DeviceFaults(self.driver.broken)
        self._modes = {i: u.converter.mode for i, u in plant.units.items()}
        self._queue_ns = dict.fromkeys(plant.units, 0)  # orders to a driver keep their order
        self._stamp_ns = 0
        line.at(0, self._step)

    def begin(self, process: Process) -> None:
        """A process lives: readings come, and its converter's hold wants renewing."""
        now_ns, random = self._line.now_ns, self._random
        self._line.at(now_ns + random.randrange(SECOND_NS), self._telemetry, process)
        self._line.at(now_ns + random.randrange(self._pace.renewal_ns), self._renewal, process)

    def hear_claim(self, unit_id: UnitId, claim: GridMasterClaim) -> None:
        """The driver of a unit hears who claims to lead."""
        if self.devices.is_cut_off(unit_id):
            return
        self.driver.hear_claim(claim.kind, claim.term, unit_id)

    # --- drivers ---------------------------------------------------------------------------------

    def command(self, process: Process, origin: Origin, order: ConverterOrder) -> None:
        """A process orders its converter."""
        unit_id = process.unit_id
        self._invariants.commanded(unit_id, order)
        profile, random = self.profile, self._random
        delay_ns = random.randrange(1_000_000, 30_000_000)
        if profile.slow and random.random() < profile.slow:
            delay_ns = int(profile.slow_s * SECOND_NS * random.random())
        delay_ns += self.devices.delay_ns(unit_id)
        due_ns = max(self._queue_ns[unit_id], self._line.now_ns + delay_ns)
        self._queue_ns[unit_id] = due_ns + 1
        self._line.at(due_ns, self._obey, process, origin, order)
        process.pending.add(origin)
        self._line.at(self._line.now_ns + DRIVER_LIMIT_NS, self.answer, process, origin, None)

    def _obey(self, process: Process, origin: Origin, order: ConverterOrder) -> None:
        unit_id, profile, random = process.unit_id, self.profile, self._random
        if self.devices.is_cut_off(unit_id):
            return  # nobody answers
        self._advance()
        refuses = profile.refuse and random.random() < profile.refuse
        if refuses:
            reply = ConverterReply(
                error=ConverterError.REFUSED,
                message="does not feel like it",
                reading=self._stamped(unit_id),
            )
        else:
            reply = self.driver.handle(unit_id, order, self._line.now_s, self._next_stamp_ns())
            self._invariants.obeyed(unit_id, order, reply)
            if reply.reading is not None and self.devices.misreads:
                reply = replace(reply, reading=self.devices.seen(unit_id, reply.reading))
        mode = order.mode.name if order.mode else ""
        outcome = reply.error.name + (f" {reply.message}" if reply.message else "")
        text = f"driver: {order.operation.name} {mode} term {order.term} {order.deal_id}"
        if reply.error or order.operation not in _ROUTINE:
            self._line.say(unit_id, f"{text}: {outcome}")
        self._check()
        if not (profile.mute and random.random() < profile.mute):
            delay_ns = random.randrange(1_000_000, 30_000_000)
            self._line.at(self._line.now_ns + delay_ns, self.answer, process, origin, reply)
        self._tell_changes()

    def _stamped(self, unit_id: UnitId) -> ConverterReading:
        reading = self.driver.read(unit_id, self._line.now_s, self._next_stamp_ns())
        return self.devices.seen(unit_id, reading) if self.devices.misreads else reading

    def _next_stamp_ns(self) -> int:
        self._stamp_ns = max(self._line.now_ns, self._stamp_ns + 1)
        return self._stamp_ns

    def _telemetry(self, process: Process) -> None:
        if not process.is_alive:
            return
        unit_id = process.unit_id
        unit, pace = self._plant.units[unit_id], self._pace
        day_s = (36_000.0 + self._line.now_s) % 86_400.0
        soc_ratio = unit.battery.soc_ratio
        if unit_id not in self.devices.silent_batteries:
            told = process.told_battery
            told_ratio = told.soc_ratio if told is not None else None
            if (
                told is None
                or told_ratio is None
                or abs(soc_ratio - told_ratio) >= pace.soc_step_ratio
            ):
                told = BatteryReading(soc_ratio=soc_ratio, seconds_of_day=day_s)
                process.told_battery = told
            self._feed(process, ev.BatteryRead(told))
        if not self.devices.is_cut_off(unit_id):
            self._feed(process, ev.ConverterRead(self._stamped(unit_id)))
        is_busy = unit.converter.is_active
        self._line.at(
            self._line.now_ns + (pace.busy_telemetry_ns if is_busy else pace.idle_telemetry_ns),
            self._telemetry,
            process,
        )

    def _renewal(self, process: Process) -> None:
        if process.is_alive:
            # with the converter off there is nothing to renew, and the agent says so at length
            if self._plant.units[process.unit_id].converter.is_active:
                self._feed(process, ev.RenewalDue())
            self._line.at(self._line.now_ns + self._pace.renewal_ns, self._renewal, process)

    # --- the plant -------------------------------------------------------------------------------

    def is_busy(self) -> bool:
        """Whether anything is on, or the bus is not dead."""
        return self._plant.voltage_v > DEAD_BUS_V or any(self.driver.active_ids())

    def look(self) -> None:
        """Let the plant come to this instant, and look at it."""
        self._advance()
        self._check()

    def _step(self) -> None:
        self._advance()
        self._check()
        self._invariants.check_balance()  # what is lost stays lost: once a step will do
        if self.is_busy():
            self._tell_changes()
            self._line.at(self._line.now_ns + self._pace.busy_step_ns, self._step)
        else:
            self._line.at(self._line.now_ns + self._pace.idle_step_ns, self._step)

    def _advance(self) -> None:
        step_s = self._line.now_s - self._plant.time_s
        if step_s > 1e-6:
            self._plant.step(step_s)
            self.driver.watch(self._line.now_s)

    def _check(self) -> None:
        self._invariants.step(self._line.now_s)
        if self._line.now_s > self._invariants.settled_s:
            self._invariants.step_settled(self._line.now_s, self._deal_of)

    def _deal_of(self, unit_id: UnitId) -> str:
        return self.driver.deal_id(unit_id)

    def _tell_changes(self) -> None:
        """Nobody should have to wait for the news that a converter has changed its mode."""
        for unit_id, unit in self._plant.units.items():
            mode = unit.converter.mode
            if self._modes[unit_id] is not mode:
                self._modes[unit_id] = mode
                cause = unit.converter.stop_cause
                self.trips += cause is StopCause.TRIP
                why = f" ({cause.name}: {unit.converter.stop_detail})" if cause else ""
                self._line.say(unit_id, f"converter is {mode.name}{why}")
                reading = self._stamped(unit_id)
                process = self._process_of(unit_id)
                if process is not None and not self.devices.is_cut_off(unit_id):
                    self._feed(process, ev.ConverterRead(reading))

    def answer(self, process: Process, origin: Origin, reply: Any) -> None:
        """A call is answered, or can be no more (None): whichever comes first counts."""
        if origin in process.pending:
            process.pending.remove(origin)
            self._feed(process, ev.ReplyReceived(origin, reply))
