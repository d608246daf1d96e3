"""``apisctl study``: reads a grid, and hands it to the study in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from apis_bringup.errors import usage_error
from apis_bringup.exec_module import exec_module
from apis_bringup.grid_file import resolve
from apis_bringup.overrides import Overrides

__all__ = ["run_study"]


def run_study(
    grid: Path,
    overrides: Overrides,
    *,
    days: float | None,
    step_s: float | None,
    out: Path,
    resume: bool,
) -> NoReturn:
    """Become the study; its exit code is 0, 1 if a file cannot be written, 130 after Ctrl-C.

    Args:
        grid: Grid file; its section ``study`` says what is wanted.
        overrides: What the command line changes of it.
        days: How many simulated days; None = as the file says.
        step_s: How long sun and load are taken for constant; None = as the file says. [s]
        out: Folder of the results; the resolved grid stands there, too.
        resume: Whether to go on with a study that was interrupted.

    Raises:
        ConfigError: A file is wrong, or the folder cannot be written.
    """
    resolved = resolve(grid, overrides)
    given = {"days": days, "step_s": step_s}
    changed = {key: value for key, value in given.items() if value is not None}
    settings = resolved.description.study.model_copy(update=changed)
    policy = out / "policy.json"  # that of the file may be for other members
    description = resolved.description.model_copy(
        update={"study": settings, "policy": str(policy.absolute())}
    )
    file = out / "grid.json"
    try:
        out.mkdir(parents=True, exist_ok=True)
        policy.write_text(resolved.policy_text, encoding="utf-8")
        file.write_text(description.model_dump_json(indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise usage_error("--out", out, f"cannot be written: {error.strerror}") from None
    words = [str(file), "--out", str(out), *(["--resume"] if resume else [])]
    exec_module("apis_study", *words)
