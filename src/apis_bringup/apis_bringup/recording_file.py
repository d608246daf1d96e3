"""Where a recording goes, so that nothing that is there is lost."""

from __future__ import annotations

from pathlib import Path

from apis_bringup.errors import usage_error

__all__ = ["recorded_file", "recording_file"]


def recording_file(given: Path, *, overwrite: bool = False, option: str = "--record") -> Path:
    """The MCAP file, absolute, of a name that a user gave: of a file, or without a suffix of a
    folder as `ros2 bag record` makes it.

    Args:
        given: What the user wrote.
        overwrite: Whether an older recording of that name may go.
        option: Of the command line, for the error.

    Raises:
        ConfigError: Something of that name is there.
    """
    path = given.resolve()
    is_folder = not path.suffix or path.is_dir()
    file = path / f"{path.name}_0.mcap" if is_folder else path
    if overwrite and not file.is_dir():
        return file
    is_empty_folder = path.is_dir() and not any(path.iterdir())
    if path.exists() and not is_empty_folder:
        raise usage_error(
            option, given, "must not be there already; choose another name, or --overwrite"
        )
    return file


def recorded_file(given: Path) -> Path:
    """The MCAP file, absolute, that a user means: a file, or a folder with one.

    Raises:
        ConfigError: The folder has none, or several.
    """
    path = given.resolve()
    if not path.is_dir():
        return path
    files = sorted(path.glob("*.mcap"))
    if len(files) != 1:
        names = ", ".join(file.name for file in files) or "none"
        raise usage_error("FILE", given, f"must have one MCAP file in it; there are: {names}")
    return files[0]
