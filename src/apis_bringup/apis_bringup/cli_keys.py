"""``apisctl keys``: the keys with which a grid signs its words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from apis_bringup.cli_options import Config
from apis_bringup.errors import CommandError, usage_error

__all__ = ["keys_app"]

keys_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Keys with which a grid signs its words; see docs/security.md.",
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The key folder.")]


@keys_app.command()
def new(
    folder: Folder,
    units: Annotated[
        int | None, typer.Option(min=1, max=999, help="For E001 and so on, so many units.")
    ] = None,
    config: Config = None,
    operators: Annotated[
        list[str] | None, typer.Option("--operator", metavar="NAME", help="May be repeated.")
    ] = None,
) -> None:
    """Make the keys that a folder lacks, for units and operators; what is there stays."""
    from apis_site.keys import make_keys

    if units is not None and config is not None:
        raise usage_error("--units", units, "and --config exclude each other")
    try:
        made = make_keys(folder, _unit_ids(units, config), operators or ["operator"])
    except OSError as error:
        raise CommandError(f"{error.filename or folder}: {error.strerror}") from None
    print(f"{folder}: made keys of {', '.join(made)}" if made else f"{folder}: nothing lacks")
    print("Each computer gets public_keys.json and the keys of those who speak from it, only.")


@keys_app.command()
def check(folder: Folder) -> None:
    """Say whose keys a folder has, and what is wrong with them."""
    from apis_core.model.errors import ConfigError, Problem
    from apis_site.keys import Role, read_keys

    keys = read_keys(folder)
    problems: list[Problem] = []
    for role in Role:
        here = keys.ids_here(role)
        for id_ in here:
            try:
                keys.private_key(id_)
            except ConfigError as error:
                problems += error.problems
        known = [id_ for id_, its_role in keys.roles.items() if its_role is role]
        print(f"{role.value}: {', '.join(known) or 'none'}; speak from here: {', '.join(here)}")
    if problems:
        raise ConfigError(problems)


def _unit_ids(units: int | None, config: Path | None) -> list[str]:
    if config is None:
        return [f"E{number:03d}" for number in range(1, (units or 0) + 1)]
    from apis_site.files import read_text
    from apis_site.grid import parse_grid
    from apis_site.yaml_text import load_yaml

    text = read_text(config, what="--config")
    return [unit.id for unit in parse_grid(load_yaml(text, str(config)), str(config)).units]
