"""Makes the events of a story happen."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

from apis_core import events as ev
from apis_core.config.hardware import parse_hardware
from apis_core.config.policy import parse_policy
from apis_core.model.errors import ConfigError
from apis_core.model.messages import Fault as FaultMessage
from apis_core.model.messages import OperationModeOrder
from apis_core.model.types import ConverterMode, UnitId
from apis_core.model.units import SECOND_NS
from apis_simulator.device_faults import QUANTITIES, MeterFault, SensorFault
from apis_simulator.faults import Fault, FaultKind
from apis_simulator.scenario.configuration import with_settings
from apis_simulator.scenario.events import Event
from apis_simulator.scenario.world import StoryWorld

__all__ = ["Director"]

OPERATOR = "operator"
RESTART_S = 1.0  # of a process whose journal is lost, if nothing else is said
MUTE, DEAF = 1, 2

Undo = Callable[[], None]


class Director:
    """Plans deals and events of a story in its world.

    Args:
        world: Has settled; the story's clock is at 0.
    """

    def __init__(self, world: StoryWorld) -> None:
        self._world = world
        story = world.story
        self._policies = {unit: dict(story.files.policy) for unit in story.units}
        self._hardware = {unit: dict(data) for unit, data in story.files.hardware.items()}
        self._policy_version = int(story.policy.version)

    def plan(self) -> None:
        """Everything that the file says will happen."""
        story = self._world.story
        for number, deal in enumerate(story.deals):
            self._world.deal_ids.append(f"deal-{number + 1}")
            self._world.at_s(deal.at_s, self._world.make_deal, number, deal)
        for event in story.events:
            self._world.at_s(event.at_s, self._happen, event)

    def _happen(self, event: Event) -> None:
        self._world.machines.look()
        undo: Undo | None = getattr(self, f"_{event.kind}")(event)
        self._world.machines.look()
        if event.ends_s is not None and undo is not None:
            self._world.at_s(event.ends_s, self._end, undo)

    def _end(self, undo: Undo) -> None:
        self._world.machines.look()
        undo()
        self._world.machines.look()

    def _say(self, who: str, text: str) -> None:
        self._world.say(who, text)

    # --- the network -----------------------------------------------------------------------------

    def _cut_off(self, event: Event) -> Undo:
        return self._cut([(unit,) for unit in event.value], 0, event)

    def _mute(self, event: Event) -> Undo:
        return self._cut([(unit,) for unit in event.value], MUTE, event)

    def _deaf(self, event: Event) -> Undo:
        return self._cut([(unit,) for unit in event.value], DEAF, event)

    def _split(self, event: Event) -> Undo:
        # whom no group names stays with the first, as the operator does
        return self._cut(list(event.value[1:]), 0, event)

    def _cut(self, groups: list[tuple[UnitId, ...]], detail: int, event: Event) -> Undo:
        cuts = [Fault(event.at_s, FaultKind.CUT, group, 0.0, detail) for group in groups]
        for cut in cuts:
            self._say("*", f"network: {','.join(cut.units)} {event.kind}")
            self._world.network.cut(cut)

        def undo() -> None:
            for cut in cuts:
                self._say("*", f"network: {','.join(cut.units)} back")
                self._world.network.heal(cut)

        return undo

    def _reaches(self, unit_id: UnitId) -> bool:
        """Whether a word of an operator reaches a unit now."""
        return self._world.network.is_open(OPERATOR, unit_id)

    def _tell(self, units: tuple[UnitId, ...], event: ev.Event) -> None:
        for unit_id in units:
            if self._reaches(unit_id):
                due_ns = self._world.now_ns + self._world.network.delay_ns()
                self._world.at(due_ns, self._hear, unit_id, event)

    def _hear(self, unit_id: UnitId, event: ev.Event) -> None:
        process = self._world.processes.get(unit_id)
        if process is not None:
            self._world.feed(process, event)

    # --- the bus ---------------------------------------------------------------------------------

    def _line_break(self, event: Event) -> Undo:
        pair = set(event.value)
        lines = self._world.story.lines
        index = next(i for i, (a, b, _) in enumerate(lines) if {a, b} == pair)
        native = self._world.plant.native

        def set_open(is_open: bool) -> None:
            state = "breaks" if is_open else "is joined again"
            self._say("*", f"the line {'-'.join(sorted(pair))} {state}")
            native.set_line_open(index, is_open)

        set_open(True)
        return lambda: set_open(False)

    def _leak(self, event: Event) -> Undo:
        device = self._world.foreign[event.index]
        self._say(event.value.at, f"{event.value.current_a:g} A leak from the bus")
        device.leak(event.value.current_a)
        return self._gone(event)

    def _earth_fault(self, event: Event) -> Undo:
        device = self._world.foreign[event.index]
        self._say(event.value.at, f"the bus is joined with earth by {event.value.ohm:g} ohm")
        device.earth(event.value.ohm)
        return self._gone(event)

    def _second_source(self, event: Event) -> Undo:
        value, device = event.value, self._world.foreign[event.index]
        self._say(value.at, f"something holds the bus at {value.voltage_v:g} V")
        device.hold(value.voltage_v, value.ohm)
        return self._gone(event)

    def _gone(self, event: Event) -> Undo:
        def undo() -> None:
            self._say(event.value.at, f"{event.kind} is over")
            self._world.foreign[event.index].remove()

        return undo

    # --- processes -------------------------------------------------------------------------------

    def _kill(self, event: Event) -> Undo:
        return self._kill_all(event.value)

    def _kill_grid_master(self, event: Event) -> Undo:
        world = self._world
        leaders = [
            unit_id
            for unit_id, process in world.processes.items()
            if process.agent.is_grid_master(process.local_ns(world.now_ns))
        ]
        if not leaders:
            self._say("*", "there is no grid master to kill")
        return self._kill_all(tuple(leaders))

    def _kill_all(self, units: tuple[UnitId, ...]) -> Undo:
        for unit_id in units:
            self._world.crash(unit_id)

        def undo() -> None:
            for unit_id in units:
                self._world.start(unit_id)

        return undo

    def _lose_journal(self, event: Event) -> None:
        world = self._world
        ends_s = event.at_s + RESTART_S if event.ends_s is None else event.ends_s
        for unit_id in event.value:
            world.crash(unit_id)
            self._say(unit_id, "its journal is lost")
            world.lose_journal(unit_id)
            world.at_s(ends_s, world.start, unit_id)

    def _pause(self, event: Event) -> Undo:
        for unit_id in event.value:
            self._world.pause(unit_id)

        def undo() -> None:
            for unit_id in event.value:
                self._world.go_on(unit_id)

        return undo

    def _kill_driver(self, event: Event) -> Undo:
        world, broken = self._world, self._world.machines.driver.broken
        for unit_id in event.value:
            self._say(unit_id, "its driver's process dies")
            broken.halted.add(unit_id)

        def undo() -> None:
            for unit_id in event.value:
                self._say(unit_id, "its driver is back, and switches the converter off")
                broken.halted.discard(unit_id)
                world.plant.stop(unit_id)

        return undo

    # --- converters and drivers ------------------------------------------------------------------

    def _trip(self, event: Event) -> None:
        for unit_id in event.value:
            self._world.plant.units[unit_id].converter.trip("it switched itself off")

    def _power_cycle(self, event: Event) -> None:
        for unit_id in event.value:
            self._say(unit_id, "its converter loses its power for a moment")
            self._world.plant.units[unit_id].converter.finish()

    def _converter_does(self, event: Event) -> None:
        value, story = event.value, self._world.story
        unit = self._world.plant.units[value.unit]
        converter = unit.converter
        self._say(value.unit, f"its converter goes to {value.mode.name} by itself")
        if value.mode is ConverterMode.WAIT:
            converter.finish()
            return
        converter.start(int(value.mode), bus_v=unit.bus_v, energy_limit_wh=None)
        capacity_a = story.hardware[value.unit].grid_current_capacity_a
        is_reference = value.mode is ConverterMode.VOLTAGE_REFERENCE
        usual_a = capacity_a if is_reference else story.policy.deal_current_a
        converter.current_setpoint_a = usual_a if value.current_a is None else value.current_a
        if is_reference:
            converter.voltage_setpoint_v = value.voltage_v or story.policy.grid_voltage_v
            converter.droop_ratio = 0.0

    def _ignores_orders(self, event: Event) -> Undo:
        return self._mark(event, self._world.machines.driver.broken.stuck, "ignores orders")

    def _driver_silent(self, event: Event) -> Undo:
        return self._mark(event, self._world.machines.driver.broken.silent, "driver is silent")

    def _mark(self, event: Event, units: set[UnitId], text: str) -> Undo:
        for unit_id in event.value:
            self._say(unit_id, text)
            units.add(unit_id)

        def undo() -> None:
            for unit_id in event.value:
                self._say(unit_id, f"{text} no longer")
                units.discard(unit_id)

        return undo

    def _driver_slow(self, event: Event) -> Undo:
        value, devices = event.value, self._world.machines.devices
        self._say(value.unit, f"its driver takes {value.delay_s:g} s longer")
        devices.slow(value.unit, value.delay_s)
        return lambda: devices.slow(value.unit, 0.0)

    # --- meters, sensors, batteries --------------------------------------------------------------

    def _meter(self, event: Event) -> Undo:
        value, unit_id = event.value, event.value.unit
        fault = MeterFault(
            gain=0.0 if value.frozen else 1.0 if value.gain is None else value.gain,
            jump_wh=value.jump_wh or 0.0,
        )
        self._say(unit_id, f"its energy counters: gain {fault.gain:g}, jump {fault.jump_wh:g} Wh")
        self._set_meter(unit_id, fault)
        return lambda: self._set_meter(unit_id, MeterFault())

    def _set_meter(self, unit_id: UnitId, fault: MeterFault) -> None:
        machines, now_s = self._world.machines, self._world.now_s
        machines.devices.break_meter(unit_id, fault, machines.driver.read(unit_id, now_s))

    def _sensor(self, event: Event) -> Undo:
        value, machines = event.value, self._world.machines
        name = QUANTITIES[value.quantity]
        shown = value.value
        if value.stuck:
            reading = machines.driver.read(value.unit, self._world.now_s)
            now = getattr(machines.devices.seen(value.unit, reading), name)
            shown = math.nan if now is None else now
        fault = SensorFault(name, value.offset or 0.0, shown)
        self._say(value.unit, f"its sensor of {name}: {value.offset or 0.0:+g}, shows {shown}")
        machines.devices.break_sensor(value.unit, fault)
        return lambda: machines.devices.mend_sensor(value.unit, fault)

    def _battery(self, event: Event) -> Undo | None:
        value, unit_id = event.value, event.value.unit
        unit, devices = self._world.plant.units[unit_id], self._world.machines.devices
        if value.silent:
            self._say(unit_id, "its battery falls silent")
            devices.silent_batteries.add(unit_id)
            return lambda: devices.silent_batteries.discard(unit_id)
        if value.soc is not None:
            self._say(unit_id, f"its battery is at {value.soc:.1%}")
            unit.battery.stored_wh = value.soc * unit.battery.capacity_wh
            return None
        self._permit(unit_id, value.permit)
        return lambda: self._permit(unit_id, not value.permit)

    def _permit(self, unit_id: UnitId, is_permitted: bool) -> None:
        verb = "permits" if is_permitted else "forbids"
        self._say(unit_id, f"its battery {verb} exchange")
        unpermitted = self._world.machines.driver.broken.unpermitted
        (unpermitted.discard if is_permitted else unpermitted.add)(unit_id)
        converter = self._world.plant.units[unit_id].converter
        converter.may_charge = converter.may_discharge = is_permitted

    # --- people ----------------------------------------------------------------------------------

    def _fault(self, event: Event) -> None:
        value = event.value
        self._say("*", f"operator tells of {value.extent.name} {value.level.name} {value.code}")
        fault = FaultMessage(
            unit_id=value.unit,
            reporter_id=OPERATOR,
            category=value.category,
            extent=value.extent,
            level=value.level,
            code=value.code,
            message="told by an operator",
        )
        self._tell(self._world.story.units, ev.Received(fault))

    def _mode(self, event: Event) -> None:
        value = event.value
        self._say("*", f"operator orders {value.value.name} for {value.unit or 'all'}")
        order = OperationModeOrder(
            unit_id=value.unit,
            mode=value.value,
            version=0 if value.unit else self._world.operator.next_mode_version(),
            issuer=OPERATOR,
        )
        self._tell(self._world.story.units, ev.Received(order))

    def _clock(self, event: Event) -> None:
        self._world.jump_clock(event.value.unit, round(event.value.jump_s * SECOND_NS))

    def _policy_file(self, event: Event) -> None:
        self._policy_version += 1
        changes = {"version": self._policy_version} | event.value.set
        for unit_id in self._whose(event):
            data = self._policies[unit_id] = with_settings(self._policies[unit_id], changes)
            self._say(unit_id, "its policy file has changed")
            try:
                policy = parse_policy(json.dumps(data), "policy")
            except ConfigError as error:
                self._refuse(unit_id, error)
                continue
            self._world.keep_policy(unit_id, policy)
            self._hear(unit_id, ev.PolicyRead(policy))

    def _hardware_file(self, event: Event) -> None:
        changes = event.value.set
        for unit_id in self._whose(event):
            data = self._hardware[unit_id] = with_settings(self._hardware[unit_id], changes)
            self._say(unit_id, "its hwConfig has changed")
            try:
                hardware = parse_hardware(json.dumps(data), "hardware")
            except ConfigError as error:
                self._refuse(unit_id, error)
                continue
            self._world.keep_hardware(unit_id, hardware)
            self._hear(unit_id, ev.HardwareRead(hardware))

    def _whose(self, event: Event) -> tuple[UnitId, ...]:
        return (event.value.unit,) if event.value.unit else self._world.story.units

    def _refuse(self, unit_id: UnitId, error: ConfigError) -> None:
        """As a node does with a file that is wrong: it changes nothing and is told."""
        message = f"{error}; what it said before still holds"
        self._hear(unit_id, ev.ConfigurationRefused(message))
