"""``python -m apis_simulator``: runs seeds on all cores; ``apisctl simtest`` calls it."""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from apis_simulator import compiled
from apis_simulator.faults import PROFILES
from apis_simulator.run import LEAST_HOURS, Case, Outcome, run

__all__ = ["main"]

_PR_SET_PDEATHSIG = 1  # <sys/prctl.h>
WORTH_UNIT_HOURS = 500.0  # for each core; what is less has run before it is compiled


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line says.

    Args:
        arguments: None = those of this process, which the compiled code then takes over.

    Returns:
        0 if every invariant held, 1 if one did not.
    """
    is_own = arguments is None
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    folder = None if options.interpreted else _machine_code(options)
    if folder is not None:
        command = [sys.executable, "-m", "apis_simulator", *arguments, "--interpreted"]
        if is_own:
            sys.stdout.flush()
            os.execve(sys.executable, command, compiled.environment(folder))
        return subprocess.run(command, env=compiled.environment(folder)).returncode
    if options.replay is not None:
        case = Case(options.replay, options.units, options.hours, options.profile)
        outcome = run(case, print if options.trace else None)
        _report(outcome, with_tail=not options.trace)
        return int(bool(outcome.rule))
    cases = [Case(seed, options.units, options.hours, options.profile) for seed in options.seeds]
    started_s = time.monotonic()
    outcomes = sorted(_run_all(cases, options.jobs), key=lambda outcome: outcome.case.seed)
    _summary(outcomes, time.monotonic() - started_s, options.jobs)
    failed = [outcome for outcome in outcomes if outcome.rule]
    for outcome in failed:
        print(f"seed {outcome.case.seed}: {outcome.reason.splitlines()[-1]}")
        if options.save:
            print(f"  kept as {_save(outcome, options.folder)}")
    if failed:
        _report(failed[0], with_tail=True)
        again = failed[0].case
        print(
            f"again: apisctl simtest --replay {again.seed} --units {again.units} "
            f"--hours {again.hours:g} --profile {again.profile} --trace"
        )
    return int(bool(failed))


def _machine_code(options: argparse.Namespace) -> Path | None:
    """Where it is, if it is there or worth making."""
    count = 1 if options.replay is not None else len(options.seeds)
    unit_hours = count * options.units * options.hours
    is_worth = unit_hours > WORTH_UNIT_HOURS * options.jobs
    try:
        folder = compiled.compiled_folder(make=False)
        if folder is None and is_worth:
            print("compiles the core and the simulator, once: about a minute", file=sys.stderr)
            folder = compiled.compiled_folder(make=True)
    except compiled.CannotCompile as error:
        print(f"goes on without compiling: {error}", file=sys.stderr)
        return None
    return folder


def _run_all(cases: list[Case], jobs: int) -> Iterator[Outcome]:
    if jobs == 1:
        yield from _told(map(run, cases), len(cases))
        return
    with ProcessPoolExecutor(jobs, initializer=_begin_worker, initargs=(os.getpid(),)) as pool:
        yield from _told(pool.map(run, cases), len(cases))


def _begin_worker(parent: int) -> None:
    """A worker ends with its parent, however that ends, and looks for garbage seldom.

    What a run makes lives as long as the run; looking for cycles all the time finds none.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the line above
        os._exit(1)
    gc.freeze()
    gc.set_threshold(200_000, 20, 20)


def _told(outcomes: Iterable[Outcome], count: int) -> Iterator[Outcome]:
    """Pass them on, and count them on a terminal."""
    for done, outcome in enumerate(outcomes, start=1):
        if sys.stderr.isatty():
            print(f"\r{done}/{count} seeds", end="", file=sys.stderr, flush=True)
        yield outcome
    if sys.stderr.isatty():
        print("\r", end="", file=sys.stderr)


def _summary(outcomes: list[Outcome], took_s: float, jobs: int) -> None:
    events = sum(outcome.events for outcome in outcomes)
    deals = sum(outcome.deals for outcome in outcomes)
    completed = sum(outcome.completed for outcome in outcomes)
    trips = sum(outcome.trips for outcome in outcomes)
    broken = Counter(outcome.rule for outcome in outcomes if outcome.rule)
    print(
        f"{len(outcomes)} seeds in {took_s:.1f} s on {jobs} cores: "
        f"{len(outcomes) / took_s:.2f} seeds/s, {events / took_s:.0f} events/s"
    )
    print(f"{deals} deals, {completed} completed, {trips} trips of converters")
    if broken:
        rules = ", ".join(f"invariant {rule}: {count}" for rule, count in sorted(broken.items()))
        print(f"{sum(broken.values())} seeds failed ({rules})")
    else:
        print("every invariant held")


def _report(outcome: Outcome, *, with_tail: bool) -> None:
    case = outcome.case
    if with_tail:
        for line in outcome.tail:
            print(line)
    print(
        f"seed {case.seed}, {case.units} units, {case.hours:g} h, {case.profile}: "
        f"{outcome.deals} deals, {outcome.completed} completed, digest {outcome.digest[:16]}"
    )
    print(outcome.reason if outcome.rule else "every invariant held")


def _save(outcome: Outcome, folder: Path) -> Path:
    case = outcome.case
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{case.profile}-{case.units}-{case.seed}.json"
    content = {
        "seed": case.seed,
        "units": case.units,
        "hours": case.hours,
        "profile": case.profile,
        "reason": outcome.reason.splitlines()[-1],
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def _seeds(text: str) -> range:
    first, _, end = text.partition(":")
    seeds = range(int(first), int(end) if end else int(first) + 1)
    if not seeds:
        raise ValueError
    return seeds


def _hours(text: str) -> float:
    hours = float(text)
    if not LEAST_HOURS <= hours <= 100.0:
        raise argparse.ArgumentTypeError(f"it must be {LEAST_HOURS:g} to 100 hours")
    return hours


def _units(text: str) -> int:
    units = int(text)
    if not 3 <= units <= 100:
        raise argparse.ArgumentTypeError("it must be 3 to 100 units")
    return units


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="apisctl simtest", allow_abbrev=False)
    parser.add_argument("--seeds", type=_seeds, default=range(100), metavar="A:B")
    parser.add_argument("--units", type=_units, default=8)
    parser.add_argument("--hours", type=_hours, default=1.0)
    parser.add_argument("--profile", choices=sorted(PROFILES), default="mixed")
    parser.add_argument("--replay", type=int, metavar="SEED")
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--interpreted", action="store_true", help="run the sources as they are")
    parser.add_argument("--folder", type=Path, default=Path("tests/seeds"))
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    return parser


if __name__ == "__main__":
    # There is nothing to put in order; and a shell that starts this in the background has made it
    # ignore SIGINT.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(main())
