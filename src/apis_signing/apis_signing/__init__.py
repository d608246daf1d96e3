"""Who may say what on the graph: the keys of a grid, and signatures over its messages.

Nodes and tools call it where they send and where they hear; the core has no part in it. The map
of the modules is in the package's ``README.md``.
"""

from apis_signing.authenticator import (
    UNSIGNED,
    MessageAuthenticator,
    is_signed,
    operator_authenticator,
)
from apis_signing.keys import Keys, Role, make_keys, read_keys

__all__ = [
    "UNSIGNED",
    "Keys",
    "MessageAuthenticator",
    "Role",
    "is_signed",
    "make_keys",
    "operator_authenticator",
    "read_keys",
]
