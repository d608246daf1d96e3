"""A recorded grid, to record it and to show it again."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from mcap.exceptions import McapError
from mcap.reader import make_reader

from apis_bringup import run_lock
from apis_bringup.errors import CommandError, usage_error
from apis_bringup.grid_file import ResolvedGrid, resolve, write_run_folder
from apis_bringup.recording_file import recording_file
from apis_bringup.run_folder import RunFolder, run_folder
from apis_site.grid import GridDescription

__all__ = ["record", "recorded_grid"]


# Of what people take for a recording: how it begins, and what to do with it.
_OTHER_KINDS = {
    b"SQLite format 3": "it is an SQLite file: `ros2 bag convert` makes an MCAP file of it",
    b"#ROSBAG V2.0": "it is a bag of ROS 1: `rosbags-convert` makes a bag of ROS 2 of it",
}
_MCAP_MAGIC = b"\x89MCAP0\r\n"
_CUT = (
    "it was cut off: `mcap recover FILE -o WHOLE.mcap` (the mcap command line tool) or "
    "`ros2 bag reindex` saves what is in it"
)


def record(program: Path, file: Path, config: Path | None, *, overwrite: bool = False) -> None:
    """Become the recorder of the grid that runs here, or of the one in a grid file; never returns.

    Args:
        program: The recorder.
        file: Where to.
        config: Grid file of a grid that runs elsewhere; None = the grid that runs here.
        overwrite: Whether a recording of that name may go.

    Raises:
        CommandError: No grid runs here.
        ConfigError: The grid file is wrong, or the file is there.
    """
    file = recording_file(file, overwrite=overwrite, option="FILE")
    running = run_lock.find()
    if config is not None:
        resolved = resolve(config)
        run = run_folder(resolved.description, "-record")
        write_run_folder(resolved, run, use_sim_time=False)
    elif running is None:
        raise CommandError(
            f"no grid runs here on ROS_DOMAIN_ID {run_lock.domain_id()}; "
            "for one on another machine, name its grid file with --config"
        )
    else:
        run = RunFolder(Path(running.folder))
    grid = GridDescription.model_validate_json(run.grid_file.read_text(encoding="utf-8"))
    is_simulated = "true" if config is None else "false"
    parameters = {
        "grid_file": run.grid_file,
        "policy_file": run.policy_file,
        "file": file,
        "overwrite": "true" if overwrite else "false",
        "use_sim_time": is_simulated,
    }
    arguments = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    remap = ["-r", f"__ns:=/apis/{grid.cluster}"]
    os.execv(program, [str(program), "--ros-args", *remap, *arguments])


def recorded_grid(file: Path, port: int | None) -> ResolvedGrid:
    """The grid of which a file is a recording.

    Args:
        file: MCAP file from the recorder.
        port: Of the dashboard; None = as it was.

    Raises:
        ConfigError: The file cannot be read, or is no recording of a grid.
    """
    try:
        with file.open("rb") as stream:
            attached = {a.name: a.data.decode() for a in make_reader(stream).iter_attachments()}
        grid = GridDescription.model_validate_json(attached["grid.json"])
    except OSError as error:
        raise usage_error("FILE", file, f"cannot be read: {error.strerror}") from None
    except KeyError:
        right = "must be made by `apisctl record`; `ros2 bag play` plays others"
        raise usage_error("FILE", file, right) from None
    except (McapError, struct.error, ValueError) as error:  # no UTF-8, or no such grid
        why = _kind_of(file) or str(error).partition("\n")[0]
        raise usage_error("FILE", file, f"must be a complete MCAP file: {why}") from None
    if port is not None:
        grid = grid.model_copy(update={"web": grid.web.model_copy(update={"port": port})})
    # what was said was checked then; the keys need not be here
    grid = grid.model_copy(update={"keys": None})
    return ResolvedGrid(grid, attached.get("policy.json", ""), is_adapted=True)


def _kind_of(file: Path) -> str:
    """What a file is that is no complete recording, and what to do with it; empty = who knows."""
    with file.open("rb") as stream:
        start = stream.read(16)
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - len(_MCAP_MAGIC)))
        end = stream.read()
    if start.startswith(_MCAP_MAGIC):
        return "" if end == _MCAP_MAGIC and size > len(_MCAP_MAGIC) else _CUT
    known = (hint for begin, hint in _OTHER_KINDS.items() if start.startswith(begin))
    return next(known, f"it begins with {start!r}, which no MCAP file does")
