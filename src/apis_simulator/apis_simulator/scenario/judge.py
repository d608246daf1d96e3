"""Whether an expectation holds, and what was seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from apis_core.model.messages import Deal, Fault
from apis_core.model.types import NOBODY, ConverterMode, DealState, UnitId
from apis_simulator.scenario.expectations import REFUSED, SETTLED_S, Expectation
from apis_simulator.scenario.facts import DEAD_V, ENERGISED_V, UP_V, DealFacts, Facts
from apis_simulator.scenario.story import Story
from apis_simulator.scenario.values import Range

__all__ = ["OFF_A", "Verdict", "judge"]

OFF_A = 0.05
SAME_S = 1e-6  # times may differ by a rounding


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one expectation.

    Attributes:
        expectation: As the file has it.
        seen: What was seen instead, or that proves it.
        holds: Whether it is true.
    """

    expectation: str
    seen: str
    holds: bool


def judge(story: Story, facts: Facts, deal_ids: list[str]) -> list[Verdict]:
    """Every expectation of a story that has run."""
    court = _Court(story, facts, deal_ids)
    verdicts = []
    for each in story.expect:
        look: Callable[[Expectation], tuple[bool, str]] = getattr(court, f"look_{each.kind}")
        holds, seen = look(each)
        verdicts.append(Verdict(each.text, seen, holds))
    return verdicts


class _Court:
    def __init__(self, story: Story, facts: Facts, deal_ids: list[str]) -> None:
        self._story, self._facts, self._deal_ids = story, facts, deal_ids
        self._end_s = story.length_s

    def _window(self, each: Expectation) -> tuple[float, float]:
        return each.seconds("from_s", 0.0), each.seconds("to_s", self._end_s)

    # --- the plant -------------------------------------------------------------------------------

    def look_off(self, each: Expectation) -> tuple[bool, str]:
        after_s = each.seconds("after_s", 0.0)
        due_s = after_s + each.seconds("within_s", 0.0)
        until_s = each.seconds("until_s", due_s + SETTLED_S)
        holds, seen = True, []
        for unit_id in each.value:
            last_on_s, is_off = self._last_on(unit_id, until_s)
            is_right = is_off and last_on_s <= due_s + SAME_S
            holds &= is_right
            if not is_off:
                seen.append(f"{unit_id} is on at {until_s:g} s")
            elif last_on_s <= after_s:
                seen.append(f"{unit_id} off before")
            else:
                seen.append(f"{unit_id} off after {last_on_s - after_s:.1f} s")
        return holds, ", ".join(seen)

    def _last_on(self, unit_id: UnitId, until_s: float) -> tuple[float, bool]:
        """Since when a converter has been off at a time, and whether it is at all. [s]"""
        facts, since_s, is_off = self._facts, 0.0, True
        for index in facts.samples(0.0, until_s):
            before, is_off = is_off, facts.is_off(unit_id, index, OFF_A)
            if is_off and not before:
                since_s = facts.times_s[index]
        return since_s, is_off

    def look_max_stiff_references(self, each: Expectation) -> tuple[bool, str]:
        facts = self._facts
        most, when_s, who, total_s = 0, 0.0, "", 0.0
        indices = list(facts.samples(*self._window(each)))
        for position, index in enumerate(indices):
            stiff = [
                unit_id
                for unit_id, record in facts.records.items()
                if record.modes[index] == ConverterMode.VOLTAGE_REFERENCE
                and record.droop_ratio[index] == 0.0
            ]
            if len(stiff) > each.value and position + 1 < len(indices):
                total_s += facts.times_s[indices[position + 1]] - facts.times_s[index]
            if len(stiff) > most:
                most, when_s, who = len(stiff), facts.times_s[index], ", ".join(stiff)
        seen = f"at most {most}" + (f": {who} at {when_s:.1f} s" if most else "")
        if most > each.value:
            seen += f", too many for {total_s:.1f} s"
        return most <= each.value, seen

    def look_bus_energised(self, each: Expectation) -> tuple[bool, str]:
        facts = self._facts
        from_s, to_s = self._window(each)
        low_v, high_v, low_s, high_s = float("inf"), 0.0, from_s, from_s
        for index in facts.samples(from_s, to_s):
            volts = facts.highest_v(index)
            if volts < low_v:
                low_v, low_s = volts, facts.times_s[index]
            if volts > high_v:
                high_v, high_s = volts, facts.times_s[index]
        if each.value:
            return low_v > UP_V, f"at least {low_v:.1f} V, at {max(low_s, from_s):.1f} s"
        return high_v < DEAD_V, f"at most {high_v:.1f} V, at {max(high_s, from_s):.1f} s"

    def look_energised_count(self, each: Expectation) -> tuple[bool, str]:
        facts = self._facts
        from_s, to_s = self._window(each)
        is_up, times = True, []
        for number, index in enumerate(facts.samples(from_s, to_s)):
            volts = facts.highest_v(index)
            if number == 0 or is_up:
                is_up = volts >= DEAD_V
            elif volts > ENERGISED_V:
                is_up = True
                times.append(facts.times_s[index])
        seen = _times(len(times), times)
        return len(times) in each.value, seen

    def look_bus_v(self, each: Expectation) -> tuple[bool, str]:
        facts = self._facts
        low_v, high_v, low_s, high_s = float("inf"), float("-inf"), 0.0, 0.0
        for index in facts.samples(*self._window(each)):
            lowest_v, highest_v = facts.lowest_v(index), facts.highest_v(index)
            if lowest_v < low_v:
                low_v, low_s = lowest_v, facts.times_s[index]
            if highest_v > high_v:
                high_v, high_s = highest_v, facts.times_s[index]
        holds = low_v in each.value and high_v in each.value
        return holds, f"{low_v:.1f} V at {low_s:.1f} s to {high_v:.1f} V at {high_s:.1f} s"

    def look_max_current_a(self, each: Expectation) -> tuple[bool, str]:
        facts = self._facts
        from_s, to_s = self._window(each)
        allowed_s = each.seconds("for_longer_than_s", 0.0)
        holds, seen = True, []
        for unit_id, limit_a in each.value.items():
            currents = facts.records[unit_id].current_a
            since_s: float | None = None
            most_a, longest_s, is_beyond = 0.0, 0.0, False
            for index in facts.samples(from_s, to_s):
                time_s, current_a = facts.times_s[index], abs(currents[index])
                most_a = max(most_a, current_a)
                if since_s is not None:
                    longest_s = max(longest_s, time_s - since_s)
                if current_a > limit_a:
                    is_beyond = True
                    since_s = time_s if since_s is None else since_s
                else:
                    since_s = None
            if since_s is not None:
                longest_s = max(longest_s, to_s - since_s)
            is_right = longest_s <= allowed_s + SAME_S if allowed_s else not is_beyond
            holds &= is_right
            beyond = f", beyond for {longest_s:.1f} s" if is_beyond else ""
            seen.append(f"{unit_id} at most {most_a:.3f} A{beyond}")
        return holds, ", ".join(seen)

    def look_soc(self, each: Expectation) -> tuple[bool, str]:
        facts = self._facts
        at_s = each.beside.get("at_s")
        from_s, to_s = self._window(each) if at_s is None else (at_s, at_s)
        holds, seen = True, []
        for unit_id, allowed in each.value.items():
            ratios = facts.records[unit_id].soc_ratio
            values = [ratios[index] for index in facts.samples(from_s, to_s)]
            low, high = min(values), max(values)
            holds &= low in allowed and high in allowed
            seen.append(f"{unit_id} {low:.4f}" + (f" to {high:.4f}" if high > low else ""))
        return holds, ", ".join(seen)

    def look_droop(self, each: Expectation) -> tuple[bool, str]:
        at_s = each.seconds("at_s", self._end_s)
        ratios = self._facts.records[each.value.unit].droop_ratio
        ratio = max((ratios[index] for index in self._facts.samples(at_s, at_s)), default=0.0)
        return ratio <= each.value.max, f"{each.value.unit} {ratio:g} at {at_s:g} s"

    # --- what the units say ----------------------------------------------------------------------

    def look_deal(self, each: Expectation) -> tuple[bool, str]:
        facts = self._facts.deal_facts.get(self._deal_ids[each.value - 1])
        at_s = each.beside.get("at_s")
        limit_s = self._end_s if at_s is None else at_s
        told = [] if facts is None else [d for d in facts.told if d[0] <= limit_s + SAME_S]
        deal = told[-1][1] if told else None
        state, reason, ended_s = _state(facts, told)
        holds, seen = True, [state]
        if "state" in each.beside:
            holds &= state == each.beside["state"]
        for name in ("moved_wh", "sent_wh", "received_wh"):
            if name in each.beside:
                value = None if deal is None else getattr(deal, name)
                holds &= _is_in(value, each.beside[name])
                seen.append(f"{name} {_number(value)}")
        for name in ("true_sent_wh", "true_received_wh"):
            if name in each.beside:
                value = 0.0 if facts is None else getattr(facts, name)
                holds &= _is_in(value, each.beside[name])
                seen.append(f"{name} {_number(value)}")
        if "ended_within_s" in each.beside:
            after_s = each.seconds("after_s", 0.0)
            within_s = each.beside["ended_within_s"]
            if ended_s is None:
                holds = False
                seen.append("not ended")
            else:
                holds &= -SAME_S <= ended_s - after_s <= within_s + SAME_S
                seen.append(f"ended after {ended_s - after_s:.1f} s")
        if "has_reason" in each.beside:
            holds &= bool(reason) is each.beside["has_reason"]
        if reason:
            seen.append(f"because {reason}")
        return holds, ", ".join(seen)

    def look_deals_completed(self, each: Expectation) -> tuple[bool, str]:
        from_s, to_s = self._window(each)
        times = []
        for facts in self._facts.deal_facts.values():
            state, _, ended_s = _state(facts, facts.told)
            is_over = ended_s is not None and from_s <= ended_s <= to_s
            if is_over and state == DealState.COMPLETED.name:
                times.append(ended_s or 0.0)
        return len(times) in each.value, _times(len(times), sorted(times))

    def look_fault(self, each: Expectation) -> tuple[bool, str]:
        after_s = each.seconds("after_s", 0.0)
        within_s = each.beside.get("within_s")
        to_s = self._end_s if within_s is None else after_s + within_s
        found = [
            (time_s, fault)
            for time_s, fault in self._facts.faults
            if after_s <= time_s <= to_s + SAME_S and _is_meant(fault, each)
        ]
        if found:
            time_s, fault = found[0]
            of = f" of {fault.unit_id}" if fault.unit_id else ""
            kind = f"{fault.category.name} {fault.extent.name} {fault.level.name} {fault.code}"
            seen = f"{kind}{of} after {time_s - after_s:.1f} s: {fault.message}"
        else:
            others = [(t, f) for t, f in self._facts.faults if t >= after_s]
            seen = "none such" + _others(others, after_s)
        return bool(found) is not each.beside.get("never", False), seen

    def look_mode(self, each: Expectation) -> tuple[bool, str]:
        at_s = each.seconds("at_s", self._end_s)
        wanted = each.value.value
        units = [each.value.unit] if each.value.unit != NOBODY else list(self._story.units)
        if wanted in {mode.name for mode in ConverterMode}:
            modes = {unit: self._converter_mode(unit, at_s) for unit in units}
        else:
            probe = self._facts.probes[at_s]
            modes = {unit: probe.modes.get(unit, "dead") for unit in units}
        seen = ", ".join(f"{unit} {mode}" for unit, mode in modes.items())
        return all(mode == wanted for mode in modes.values()), f"{seen} at {at_s:g} s"

    def _converter_mode(self, unit_id: UnitId, at_s: float) -> str:
        modes = self._facts.records[unit_id].modes
        last = [modes[index] for index in self._facts.samples(at_s, at_s)]
        return ConverterMode(last[-1]).name

    def look_grid_masters(self, each: Expectation) -> tuple[bool, str]:
        from_s, to_s = self._window(each)
        before = [entry for entry in self._facts.masters if entry[0] <= from_s][-1:]
        inside = [entry for entry in self._facts.masters if from_s < entry[0] <= to_s]
        counts = [count for _, count in (*before, *inside)]
        holds = all(count in each.value for count in counts)
        most = max((*before, *inside), key=lambda entry: entry[1], default=(0.0, 0))
        return holds, f"at most {most[1]} in one term, at {most[0]:.1f} s"

    def look_slots(self, each: Expectation) -> tuple[bool, str]:
        at_s = each.seconds("at_s", self._end_s)
        held = {unit: n for unit, n in self._facts.probes[at_s].slots.items() if n}
        total = sum(held.values())
        who = ", ".join(f"{unit} {count}" for unit, count in held.items())
        return total in each.value, f"{total} at {at_s:g} s" + (f": {who}" if who else "")


def _state(
    facts: DealFacts | None, told: list[tuple[float, Deal]]
) -> tuple[str, str, float | None]:
    """Where a deal stands, why, and when it ended. [s]"""
    if not told:
        if facts is not None and facts.refused:
            return REFUSED, facts.refused, facts.refused_s
        return "UNKNOWN", "", None
    ends = [(time_s, deal) for time_s, deal in told if deal.state.is_over]
    deal = ends[0][1] if ends else told[-1][1]
    return deal.state.name, deal.reason, ends[0][0] if ends else None


def _is_meant(fault: Fault, each: Expectation) -> bool:
    wanted = each.value
    return (
        (wanted.unit is None or wanted.unit == fault.unit_id)
        and (wanted.category is None or wanted.category is fault.category)
        and (wanted.extent is None or wanted.extent is fault.extent)
        and (wanted.level is None or wanted.level is fault.level)
        and (wanted.code is None or wanted.code == fault.code)
    )


def _others(faults: list[tuple[float, Fault]], after_s: float) -> str:
    names = dict.fromkeys(f"{fault.code} after {t - after_s:.1f} s" for t, fault in faults)
    return f"; told were {', '.join(list(names)[:3])}" if names else ""


def _is_in(value: float | None, allowed: Range) -> bool:
    return value is not None and value in allowed


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.2f}"


def _times(count: int, times_s: Iterable[float]) -> str:
    when = ", ".join(f"{time_s:.1f}" for time_s in times_s)
    return f"{count}" + (f": at {when} s" if when else "")
