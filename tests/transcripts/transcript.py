"""Plays a transcript: commands in, what the cluster did out. The language is in the README."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from simulated_cluster import SimulatedCluster

from apis_core.events import Received
from apis_core.grid_master.deal.transitions import Phase
from apis_core.model.messages import Deal, OperationModeOrder
from apis_core.model.types import ConverterMode, OperationMode, StopCause
from apis_core.model.units import s_from_ns

RULE = "----"
_DEAL_ID = re.compile(r"\bE\d+-[0-9a-f]{16}\b")
_POLICY_TYPES: dict[str, Callable[[str], object]] = {"deal_current_a": float}


class Scene:
    """One transcript being played.

    Args:
        header: The lines above the rule.
    """

    def __init__(self, header: list[str]) -> None:
        self.lines: list[str] = []
        self._numbers: dict[str, str] = {}  # deal id -> #1, #2, ...
        self._timed: list[tuple[float, str]] = []
        self._awaited: list[tuple[Phase, float, str]] = []
        self._victim = ""
        self._run_s = 0.0
        socs: dict[str, float] = {}
        policy: dict[str, object] = {}
        seed = 1
        for line in header:
            match line.split("#")[0].split():
                case []:
                    pass
                case ["units", *pairs]:
                    socs = dict(zip(pairs[::2], map(float, pairs[1::2]), strict=True))
                case ["policy", name, value]:
                    policy[name] = _POLICY_TYPES[name](value)
                case ["seed", number]:
                    seed = int(number)
                case ["run", duration]:
                    self._run_s = _seconds(duration)
                case ["at", instant, *action]:
                    self._timed.append((_seconds(instant), " ".join(action)))
                case ["when", condition, *action]:
                    name, _, later = condition.partition("+")
                    phase = Phase[name.upper()]
                    self._awaited.append((phase, _seconds(later or "0s"), " ".join(action)))
                case _:
                    raise ValueError(f"cannot read: {line}")
        self._cluster = cluster = SimulatedCluster(socs, seed=seed, **policy)
        self._began_ns = cluster.now_ns
        self._told = 0
        self._modes = dict.fromkeys(socs, ConverterMode.UNKNOWN)
        self._warning = ""
        cluster.watchers.append(self._watch)

    def play(self) -> list[str]:
        """The lines below the rule."""
        cluster = self._cluster
        while self._timed or cluster.now_ns < self._end_ns:
            self._timed.sort(key=lambda timed: timed[0])  # stable: in the order of the header
            due_s = self._timed[0][0] if self._timed else self._run_s
            is_due = lambda: any(due_s <= self._now_s for due_s, _ in self._timed)  # noqa: E731
            cluster.run_until(is_due, max(due_s - self._now_s, 0.0))
            while is_due():
                self._timed.sort(key=lambda timed: timed[0])
                self._act(self._timed.pop(0)[1])
        self._write_end()
        return self.lines

    # --- watching --------------------------------------------------------------------------------

    @property
    def _now_s(self) -> float:
        return s_from_ns(self._cluster.now_ns - self._began_ns)

    @property
    def _end_ns(self) -> int:
        return self._began_ns + round(self._run_s * 1e9)

    def _watch(self, cluster: SimulatedCluster) -> None:
        for told in cluster.trace[self._told :]:
            _, unit_id, text = told.split(maxsplit=2)
            self._write(unit_id, _DEAL_ID.sub(self._number, text))
        self._told = len(cluster.trace)
        for unit_id, plant in cluster.plants.items():
            reading = plant.reading
            if reading.mode is not self._modes[unit_id]:
                cause = "" if reading.stop_cause is StopCause.NONE else f", {reading.stop_detail}"
                words = f"{_words(self._modes[unit_id])} -> {_words(reading.mode)}"
                if self._modes[unit_id] is not ConverterMode.UNKNOWN:
                    self._write(unit_id, f"  converter {words}{cause}")
                self._modes[unit_id] = reading.mode
        self._warn()
        for awaited in list(self._awaited):
            phase, later_s, action = awaited
            deal = self._deal_in(phase)
            if deal is not None:
                self._awaited.remove(awaited)
                # whole nanoseconds: what lies between two is never due
                self._timed.append((round(self._now_s + later_s, 9), self._resolve(action, deal)))

    def _warn(self) -> None:
        """Say it when something is on the bus that should not be."""
        modes = list(self._modes.values())
        references = modes.count(ConverterMode.VOLTAGE_REFERENCE)
        stiff = [
            unit_id
            for unit_id, plant in self._cluster.plants.items()
            if self._modes[unit_id] is ConverterMode.VOLTAGE_REFERENCE
            and not plant.reading.droop_ratio
        ]
        currents = modes.count(ConverterMode.CHARGE) + modes.count(ConverterMode.DISCHARGE)
        warning = "two voltage references without droop" if len(stiff) > 1 else ""
        if currents and not references:
            warning = "a current without a voltage reference"
        if warning and warning != self._warning:
            self._write("!!", warning)
        self._warning = warning

    def _deal_in(self, phase: Phase) -> Deal | None:
        for unit in self._cluster.agents.values():
            for deal in unit.grid_master.deals.values() if unit.grid_master else ():
                if deal.phase is phase:
                    return deal.deal
        return None

    def _resolve(self, action: str, deal: Deal) -> str:
        names = {
            "master": deal.grid_master_id,
            "giver": deal.discharge_unit_id,
            "taker": deal.charge_unit_id,
        }
        return " ".join(names.get(word, word) for word in action.split())

    # --- acting ----------------------------------------------------------------------------------

    def _act(self, action: str) -> None:
        cluster = self._cluster
        words = [self._victim if word == "victim" else word for word in action.split()]
        self._write("*", " ".join(words))
        match words:
            case ["kill", unit_id]:
                self._victim = unit_id
                cluster.kill(unit_id)
            case ["start", unit_id]:
                cluster.start(unit_id)
            case ["restart", unit_id]:
                cluster.kill(unit_id)
                cluster.start(unit_id)
            case ["stop", unit_id]:
                cluster.ask_to_stop(unit_id)
            case ["cut", *unit_ids]:
                cluster.lost = lambda sender, to: (sender in unit_ids) != (to in unit_ids)
            case ["heal"]:
                cluster.lost = lambda _sender, _to: False
            case ["mode", name, *unit_ids]:
                mode = OperationMode[name.replace("-", "_").upper()]
                order = OperationModeOrder(unit_id=unit_ids[0] if unit_ids else "", mode=mode)
                for unit_id in list(cluster.agents):
                    cluster.feed(unit_id, Received(order))
            case _:
                raise ValueError(f"cannot do: {action}")
        self._watch(cluster)

    # --- writing ---------------------------------------------------------------------------------

    def _number(self, match: re.Match[str]) -> str:
        return self._numbers.setdefault(match[0], f"#{len(self._numbers) + 1}")

    def _write(self, who: str, text: str) -> None:
        self.lines.append(f"{self._now_s:8.2f} {who:<4} {text}")

    def _write_end(self) -> None:
        cluster = self._cluster
        for action in (*(action for _, action in self._timed), *(a for *_, a in self._awaited)):
            self.lines.append(f"     never happened: {action}")
        on = [u for u, plant in cluster.plants.items() if plant.reading.mode.is_active]
        masters = cluster.leaders()
        slots = [unit.unit_id for unit in cluster.snapshots() if unit.slot_deals]
        ends = {"grid master": masters, "converters on": on, "slots held": slots}
        for name, unit_ids in ends.items():
            self.lines.append(f"     end, {name}: {' '.join(unit_ids) or 'none'}")
        self.lines.append(f"     end, bus: {cluster.bus_v:.0f} V")


def _words(mode: ConverterMode) -> str:
    return mode.name.lower().replace("_", " ")


def _seconds(text: str) -> float:
    if not text.endswith("s"):
        raise ValueError(f"{text}: a time ends in s")
    return float(text[:-1])


def replay(path: Path) -> tuple[str, str]:
    """A transcript as it is, and as it comes out now."""
    before = path.read_text()
    header = before.split(f"{RULE}\n")[0].splitlines()
    lines = Scene(header).play()
    return before, "\n".join([*header, RULE, *lines, ""])
