"""The key folder of a grid.

::

    public_keys.json    whose word counts: units and operators, id → public key (Ed25519, base64)
    E001.pem            a private key (PKCS 8), readable by its owner alone; a computer has the
    operator.pem        public list and the keys of those that speak from it, and no others
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from apis_core.model.errors import ConfigError, Problem

__all__ = ["LIST_NAME", "Keys", "Role", "make_keys", "read_keys"]

LIST_NAME = "public_keys.json"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_REMEMBERED = 4096  # words that were found right; twenty units of one process hear the same ones


class Role(Enum):
    """What a key is for; the value is its group in the list."""

    UNIT = "units"
    OPERATOR = "operators"


@dataclass(frozen=True, slots=True)
class Keys:
    """Whose word counts in a grid, and where the private keys of this computer are.

    Attributes:
        folder: The key folder.
        roles: What each id speaks for.
    """

    folder: Path
    roles: Mapping[str, Role]
    _public: Mapping[str, Ed25519PublicKey]
    _verified: dict[tuple[str, bytes, bytes], None] = field(default_factory=dict)

    def has_signed(self, signer: str, value: bytes, data: bytes) -> bool:
        """Whether a known signer has signed these bytes."""
        seen = (signer, value, data)
        if seen in self._verified:
            return True
        try:
            self._public[signer].verify(value, data)
        except InvalidSignature:
            return False
        while len(self._verified) >= _REMEMBERED:
            del self._verified[next(iter(self._verified))]
        self._verified[seen] = None
        return True

    def private_key(self, signer: str) -> Ed25519PrivateKey:
        """The private key of somebody who speaks from this computer.

        Raises:
            ConfigError: It is not there, others can read it, or it does not fit the list.
        """
        path = self.folder / f"{signer}.pem"
        if signer not in self.roles:
            raise _wrong(self.folder / LIST_NAME, signer, "has no public key there; make one")
        key = _read_private(path)
        if _text_of(key.public_key()) != _text_of(self._public[signer]):
            raise _wrong(path, "", f"is not the key that {LIST_NAME} has for {signer}")
        return key

    def ids_here(self, role: Role) -> list[str]:
        """Ids of a role whose private keys are in the folder."""
        return [
            id_
            for id_, its_role in sorted(self.roles.items())
            if its_role is role and (self.folder / f"{id_}.pem").exists()
        ]

    def operator_here(self) -> str:
        """The one operator who speaks from this computer.

        Raises:
            ConfigError: There is none, or more than one and ``APIS_OPERATOR`` names none of them.
        """
        here, wanted = self.ids_here(Role.OPERATOR), os.environ.get("APIS_OPERATOR", "")
        if wanted in here:
            return wanted
        if len(here) == 1 and not wanted:
            return here[0]
        known = ", ".join(here) or "none"
        right = (
            f"must have the private key of one operator, or APIS_OPERATOR must name one: {known}"
        )
        raise _wrong(self.folder, "APIS_OPERATOR" if wanted else "", right, wanted)


def read_keys(folder: Path) -> Keys:
    """Read the public list of a key folder.

    Raises:
        ConfigError: It cannot be read, or is no such list.
    """
    path = folder / LIST_NAME
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        why = f"cannot be read ({error.strerror}); `apisctl keys new` makes a key folder"
        raise _wrong(path, "", why) from error
    except (ValueError, RecursionError) as error:
        raise _wrong(path, "", f"must be JSON: {error}") from error
    groups = [role.value for role in Role]
    if not isinstance(data, dict) or set(data) != set(groups):
        raise _wrong(path, "", f"must have the groups {' and '.join(groups)}, and no others")
    problems: list[Problem] = []
    roles: dict[str, Role] = {}
    public: dict[str, Ed25519PublicKey] = {}
    for role in Role:
        group = data[role.value]
        if not isinstance(group, dict):
            problems.append(Problem(str(path), role.value, "", "must be id → public key"))
            continue
        for id_, text in group.items():
            where = f"{role.value}.{id_}"
            if not _ID.fullmatch(id_) or id_ in roles:
                right = "must be letters, digits, _ and -, and stand in one group once"
                problems.append(Problem(str(path), where, id_, right))
                continue
            try:
                public[id_] = _public_of(text)
            except (TypeError, ValueError, binascii.Error):
                right = "must be the 32 bytes of an Ed25519 public key as base64"
                problems.append(Problem(str(path), where, str(text), right))
            roles[id_] = role
    if problems:
        raise ConfigError(problems)
    return Keys(folder, roles, public)


def make_keys(folder: Path, units: Iterable[str], operators: Iterable[str]) -> list[str]:
    """Make the keys that a key folder lacks; what is there stays as it is.

    Args:
        folder: Made if it is not there, for its owner alone.
        units: Unit ids.
        operators: Their names.

    Returns:
        The ids that got a key.

    Raises:
        ConfigError: A name is none, or the folder has something wrong in it.
        OSError: It cannot be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / LIST_NAME
    roles = dict(read_keys(folder).roles) if path.exists() else {}
    texts = (
        json.loads(path.read_text(encoding="utf-8"))
        if path.exists()
        else {role.value: {} for role in Role}
    )
    made = []
    for role, ids in ((Role.UNIT, units), (Role.OPERATOR, operators)):
        for id_ in ids:
            if not _ID.fullmatch(id_) or roles.get(id_, role) is not role:
                right = "must be letters, digits, _ and -, and not the name of another role's key"
                raise _wrong(path, f"{role.value}.{id_}", right, id_)
            if id_ in roles:
                continue
            key = Ed25519PrivateKey.generate()
            _write_private(folder / f"{id_}.pem", key)
            texts[role.value][id_] = _text_of(key.public_key())
            roles[id_] = role
            made.append(id_)
    # as a whole or not at all: who reads it meanwhile sees the old one
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(texts, indent=1) + "\n", encoding="utf-8")
    fresh.replace(path)
    return made


def _write_private(path: Path, key: Ed25519PrivateKey) -> None:
    """Never readable for others, and never in the place of one that is there."""
    data = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        right = f"is there, but {LIST_NAME} does not know it; move one of them away"
        raise _wrong(path, "", right) from None
    with os.fdopen(file, "wb") as stream:
        stream.write(data)


def _read_private(path: Path) -> Ed25519PrivateKey:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read()
    except OSError as error:
        raise _wrong(path, "", f"cannot be read: {error.strerror}") from error
    if mode & 0o077:
        right = f"is open to others (mode {mode:04o}), it must be 0600: chmod 600 {path}"
        raise _wrong(path, "", right)
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise _wrong(path, "", "must be an Ed25519 private key (PEM, PKCS 8)") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _wrong(path, "", "must be an Ed25519 private key, not one of another kind")
    return key


def _public_of(text: str) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))


def _text_of(key: Ed25519PublicKey) -> str:
    raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return base64.b64encode(raw).decode()


def _wrong(where: Path, key: str, right: str, found: str = "") -> ConfigError:
    return ConfigError([Problem(str(where), key, found, right)])
