"""What goes wrong, how often, and when: a profile, and the plan that a seed draws from it.

The plan is made before the run, so that what the agents do cannot change what happens to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from random import Random

from apis_core.model.messages import Fault as FaultMessage
from apis_core.model.types import Direction, FaultCategory, FaultExtent, FaultLevel, UnitId

__all__ = ["PROFILES", "Fault", "FaultKind", "Profile", "message_of", "plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How bad the world is while faults last. Rates are per hour, chances per message or order.

    Attributes:
        loss: Chance that a message is lost.
        duplicate: ... comes twice.
        straggle: ... takes up to ``straggle_s`` instead of a few milliseconds.
        straggle_s: [s]
        cuts: Partitions, each with an end.
        crashes: Deaths of a process; it comes back.
        wipes: Deaths of a process whose journal is lost, too.
        jumps: Jumps of a unit's clock.
        lies: Converters that are off by more than the hwConfig allows.
        policies: Newer policy files, for all units or for some.
        modes: Words of an operator.
        scrams: Faults of the whole cluster that an operator tells of; not all units hear of it.
        stops: Ends of a process in order; it comes back.
        neighbours: Deals of the other unit of a battery; if not 0, all units share theirs.
        slow: Chance that a driver takes up to ``slow_s`` over an order.
        slow_s: [s]
        refuse: Chance that a driver refuses an order for no reason.
        mute: Chance that a driver obeys, but its answer is lost.
        drift_ratio: Greatest error of a unit's clock.
    """

    loss: float = 0.0
    duplicate: float = 0.0
    straggle: float = 0.0
    straggle_s: float = 3.0
    cuts: float = 0.0
    crashes: float = 0.0
    wipes: float = 0.0
    jumps: float = 0.0
    lies: float = 0.0
    policies: float = 0.0
    modes: float = 0.0
    scrams: float = 0.0
    stops: float = 0.0
    neighbours: float = 0.0
    slow: float = 0.0
    slow_s: float = 3.0
    refuse: float = 0.0
    mute: float = 0.0
    drift_ratio: float = 0.0


PROFILES = {
    "calm": Profile(),
    "mixed": Profile(
        loss=0.03,
        duplicate=0.03,
        straggle=0.03,
        cuts=8.0,
        crashes=16.0,
        wipes=1.0,
        jumps=4.0,
        lies=4.0,
        policies=1.5,
        modes=6.0,
        stops=12.0,
        slow=0.03,
        refuse=0.01,
        mute=0.01,
        drift_ratio=0.005,
    ),
    "partition": Profile(
        loss=0.10, duplicate=0.05, straggle=0.10, cuts=40.0, crashes=2.0, drift_ratio=0.005
    ),
    "crash": Profile(
        loss=0.01, straggle=0.02, cuts=2.0, crashes=60.0, slow=0.05, mute=0.02, drift_ratio=0.005
    ),
    "gateway": Profile(
        loss=0.03,
        straggle=0.03,
        cuts=4.0,
        crashes=16.0,
        stops=8.0,
        neighbours=200.0,
        slow=0.03,
        mute=0.01,
        drift_ratio=0.005,
    ),
    "hardware": Profile(lies=40.0, slow=0.05, refuse=0.02, mute=0.02, drift_ratio=0.005),
    "scram": Profile(loss=0.03, scrams=25.0, crashes=8.0, slow=0.03, mute=0.01, drift_ratio=0.005),
}


class FaultKind(Enum):
    """What happens at an instant of the plan."""

    CRASH = auto()  # of one unit, at once
    CRASH_INSIDE = auto()  # of one unit, after some effects of whatever it does next
    CUT = auto()  # the network falls apart into groups, or one unit becomes deaf or mute
    MODE = auto()  # an operator speaks
    SCRAM = auto()  # an operator tells of a fault of the whole cluster, and says Run later
    STOP = auto()  # somebody ends a process with Ctrl-C
    WIPE = auto()  # a process dies, and its disk with it
    JUMP = auto()  # a unit's clock jumps
    LIE = auto()  # a converter does not do what it is told
    POLICY = auto()  # an operator gives units a newer policy file
    NEIGHBOUR = auto()  # the other unit of a battery has a deal


@dataclass(frozen=True, slots=True)
class Fault:
    """One entry of a plan.

    Attributes:
        time_s: When. [s]
        kind: What.
        units: Whom it hits: one unit, one side of a partition, or those that get a file or a word.
        lasts_s: How long until the process is back, or the partition heals. [s]
        detail: CRASH_INSIDE: effects before it dies; CUT: 0 both ways, 1 they cannot speak, 2
            they cannot hear; MODE: which word; SCRAM: the category;
            JUMP: by how much, in ms; LIE: the same in mA;
            NEIGHBOUR: its direction.
    """

    time_s: float
    kind: FaultKind
    units: tuple[UnitId, ...]
    lasts_s: float
    detail: int = 0


def message_of(scram: Fault) -> FaultMessage:
    """What the operator tells in a SCRAM of a plan."""
    return FaultMessage(
        unit_id=scram.units[0],
        reporter_id="operator",
        category=FaultCategory(scram.detail),
        extent=FaultExtent.GLOBAL,
        level=FaultLevel.ERROR,
        code="told_by_operator",
        message="everything off",
    )


def plan(profile: Profile, members: Sequence[UnitId], end_s: float, random: Random) -> list[Fault]:
    """All faults from 0 to an instant; what lasts ends by then, too."""
    faults: list[Fault] = []
    for rate, make in (
        (profile.crashes, _crash),
        (profile.cuts, _cut),
        (profile.modes, _mode),
        (profile.stops, _stop),
        (profile.wipes, _wipe),
        (profile.jumps, _jump),
        (profile.lies, _lie),
        (profile.policies, _policy),
        (profile.neighbours, _neighbour),
        (profile.scrams, _scram),
    ):
        time_s = 0.0
        while rate > 0.0:
            time_s += random.expovariate(rate / 3600.0)
            if time_s >= end_s:
                break
            fault = make(time_s, members, random)
            if time_s + fault.lasts_s < end_s:
                faults.append(fault)
    return sorted(faults, key=lambda fault: fault.time_s)


def _crash(time_s: float, members: Sequence[UnitId], random: Random) -> Fault:
    kind = FaultKind.CRASH if random.random() < 0.5 else FaultKind.CRASH_INSIDE
    victim = members[random.randrange(len(members))]
    lasts_s = random.choice((0.5, 2.0, 10.0, 60.0)) * (0.5 + random.random())
    return Fault(time_s, kind, (victim,), lasts_s, random.randrange(1, 6))


def _stop(time_s: float, members: Sequence[UnitId], random: Random) -> Fault:
    victim = members[random.randrange(len(members))]
    return Fault(time_s, FaultKind.STOP, (victim,), random.uniform(60.0, 120.0))


def _cut(time_s: float, members: Sequence[UnitId], random: Random) -> Fault:
    size = 1 if random.random() < 0.5 else random.randrange(1, max(len(members) // 2, 1) + 1)
    side = tuple(sorted(random.sample(members, size)))
    lasts_s = random.choice((3.0, 15.0, 60.0, 120.0)) * (0.5 + random.random())
    return Fault(time_s, FaultKind.CUT, side, lasts_s, random.choice((0, 0, 0, 1, 2)))


def _mode(time_s: float, members: Sequence[UnitId], random: Random) -> Fault:
    unit = (members[random.randrange(len(members))],) if random.random() < 0.6 else ()
    return Fault(time_s, FaultKind.MODE, unit, random.uniform(10.0, 90.0), random.randrange(1, 4))


def _scram(time_s: float, members: Sequence[UnitId], random: Random) -> Fault:
    category = random.choice((FaultCategory.HARDWARE, FaultCategory.USER))
    some = tuple(sorted(random.sample(members, random.randrange(1, len(members) + 1))))
    return Fault(time_s, FaultKind.SCRAM, some, random.uniform(10.0, 90.0), category)


def _wipe(time_s: float, members: Sequence[UnitId], random: Random) -> Fault:
    victim = members[random.randrange(len(members))]
    return Fault(time_s, FaultKind.WIPE, (victim,), random.uniform(0.5, 120.0))


def _jump(time_s: float, members: Sequence[UnitId], random: Random) -> Fault:
    """Forwards as after a suspension, or a little back."""
    victim = members[random.randrange(len(members))]
    by_ms = random.choice((-2_000, 2_000, 20_000, 120_000))
    return Fault(time_s, FaultKind.JUMP, (victim,), 0.0, int(by_ms * random.random()))


def _lie(time_s: float, members: Sequence[UnitId], random: Random) -> Fault:
    victim = members[random.randrange(len(members))]
    by_ma = random.choice((-800, 300, 800))
    return Fault(time_s, FaultKind.LIE, (victim,), random.uniform(20.0, 400.0), by_ma)


def _policy(time_s: float, members: Sequence[UnitId], random: Random) -> Fault:
    some = random.randrange(1, len(members) + 1) if random.random() < 0.5 else len(members)
    return Fault(time_s, FaultKind.POLICY, tuple(sorted(random.sample(members, some))), 0.0)


def _neighbour(time_s: float, members: Sequence[UnitId], random: Random) -> Fault:
    victim = members[random.randrange(len(members))]
    direction = Direction.CHARGE if random.random() < 0.5 else Direction.DISCHARGE
    return Fault(time_s, FaultKind.NEIGHBOUR, (victim,), random.uniform(20.0, 400.0), direction)
