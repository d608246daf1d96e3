"""Measure the parts that were asked for, or all: ``python -m bench [part ...]``."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import signal
import sys
from pathlib import Path

from rich.console import Console

from bench import parts
from bench.report import Report

FILE = Path(__file__).resolve().parents[1] / "build" / "bench.json"


def main() -> int:
    """Entry point; 1 if a figure misses its bar."""
    names = sorted(module.name for module in pkgutil.iter_modules(parts.__path__))
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(names)}")
    chosen = parser.parse_args().parts or names
    if unknown := sorted(set(chosen) - set(names)):
        parser.error(f"there is no part {', '.join(unknown)}; parts are {', '.join(names)}")
    console = Console(width=140)
    report = Report()
    for name in chosen:
        console.print(f"[dim]measuring {name} ...[/]")
        importlib.import_module(f"bench.parts.{name}").measure(report)
    report.show(console)
    report.write(FILE)
    console.print("[dim]written to build/bench.json[/]")
    return 0 if all(figure.ok for figure in report.figures) else 1


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a script in a shell has it ignored
    sys.exit(main())
