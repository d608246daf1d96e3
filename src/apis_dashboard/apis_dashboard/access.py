"""Who may look and who may steer, as the file of users says.

On a loopback address without a file nobody logs in and everybody here may do everything. Anywhere
else a file is demanded. It is YAML; passwords and tokens stand in it as hashes only, which
``python -m apis_dashboard.access NAME --role operator`` makes::

    users:
      - {name: anna, role: operator, password: "scrypt:..."}
      - {name: hall_screen, role: viewer, token: "sha256:..."}
"""

from __future__ import annotations

import argparse
import getpass
import hashlib
import hmac
import ipaddress
import os
import secrets
import sys
from base64 import b64decode, b64encode
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from apis_core.model.errors import ConfigError
from apis_site.files import read_text

__all__ = [
    "LOCAL",
    "AccessError",
    "Identity",
    "Role",
    "Users",
    "is_loopback",
    "read_users",
]

SCRYPT = {"n": 2**14, "r": 8, "p": 1}


class Role(IntEnum):
    """What somebody may do; each includes the ones before it."""

    VIEWER = 1
    OPERATOR = 2  # modes, deals, schedules, the emergency stop
    MAINTAINER = 3  # converters by hand, programs, faults for tests


class AccessError(Exception):
    """The file of users makes no sense, or is missing; one line for people."""


@dataclass(frozen=True)
class Identity:
    """Who somebody is."""

    name: str
    role: Role
    session: str = ""  # empty = not by a session

    @property
    def may_operate(self) -> bool:
        """Whether it may give orders."""
        return self.role >= Role.OPERATOR

    @property
    def may_maintain(self) -> bool:
        """Whether it may also work on converters, programs and emulated hardware."""
        return self.role >= Role.MAINTAINER


LOCAL = Identity("local", Role.MAINTAINER)


class _User(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Annotated[str, Field(pattern=r"^[\w.@-]{1,40}$")]
    role: Literal["viewer", "operator", "maintainer"]
    password: Annotated[str | None, Field(pattern=r"^scrypt:")] = None
    token: Annotated[str | None, Field(pattern=r"^sha256:[0-9a-f]{64}$")] = None

    @model_validator(mode="after")
    def _has_a_secret(self) -> _User:
        if (self.password is None) == (self.token is None):
            raise ValueError("needs a password or a token, and not both")
        return self


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    users: Annotated[tuple[_User, ...], Field(min_length=1)]


class Users:
    """Who is in the file."""

    def __init__(self, users: tuple[_User, ...]) -> None:
        self._by_name = {user.name: user for user in users if user.password}
        self._by_token = {user.token: user for user in users if user.token}
        self._nobody = hash_password(secrets.token_hex())

    def by_password(self, name: str, password: str) -> Identity | None:
        """Whose name and password these are; a wrong name takes as long as a wrong password."""
        user = self._by_name.get(name)
        stored = user.password if user and user.password else self._nobody
        if not _is_password(password, stored) or user is None:
            return None
        return Identity(user.name, Role[user.role.upper()])

    def by_token(self, token: str) -> Identity | None:
        """Whose token this is."""
        user = self._by_token.get(hash_token(token))
        return Identity(user.name, Role[user.role.upper()]) if user else None


def read_users(path: Path) -> Users:
    """Read the file.

    Raises:
        AccessError: It is not there, others may write it, or it makes no sense.
    """
    try:
        if path.stat().st_mode & 0o022:
            raise AccessError(f"{path}: others may write it; chmod go-w makes it right")
        content = yaml.safe_load(read_text(path))
        users = _File.model_validate(content).users
    except OSError as error:
        raise AccessError(f"{path}: {error.strerror}") from None
    except ConfigError as error:
        raise AccessError(str(error)) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise AccessError(f"{path}: {place or 'content'}: {first['msg']}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # also the 45th of a month
        raise AccessError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    names = [user.name for user in users]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise AccessError(f"{path}: users: {twice} stands there twice")
    return Users(users)


def hash_password(password: str) -> str:
    """The form of a password that stands in the file."""
    salt = os.urandom(16)
    key = hashlib.scrypt(password.encode(), salt=salt, **SCRYPT)
    return f"scrypt:{b64encode(salt).decode()}:{b64encode(key).decode()}"


def hash_token(token: str) -> str:
    """The form of a token that stands in the file; it is long and random and needs no salt."""
    return f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"


def _is_password(password: str, stored: str) -> bool:
    try:
        _, salt, key = stored.split(":")
        made = hashlib.scrypt(password.encode(), salt=b64decode(salt), **SCRYPT)
        return hmac.compare_digest(made, b64decode(key))
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine only."""
    host = host.removesuffix(".")  # a full name of DNS may end in one
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def main(arguments: list[str] | None = None) -> int:
    """Print a line for the file of users; give the exit code."""
    parser = argparse.ArgumentParser(description="A line for the dashboard's file of users.")
    parser.add_argument("name")
    parser.add_argument("--role", choices=[role.name.lower() for role in Role], default="viewer")
    parser.add_argument("--token", action="store_true", help="for a program, not for a person")
    options = parser.parse_args(arguments)
    if options.token:
        token = secrets.token_urlsafe(32)
        print(f"the token, shown this once: {token}", file=sys.stderr)
        secret = f'token: "{hash_token(token)}"'
    else:
        password = (
            getpass.getpass("Password: ")
            if sys.stdin.isatty()
            else sys.stdin.readline().rstrip("\n")
        )
        if len(password) < 8:
            print("access: the password is too short; 8 characters at least", file=sys.stderr)
            return 2
        secret = f'password: "{hash_password(password)}"'
    print(f"  - {{name: {options.name}, role: {options.role}, {secret}}}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
