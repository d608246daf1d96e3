"""Who may say what on the graph: the keys of a grid, and signatures over its messages.

Nodes and tools call it where they send and where they hear; the core has no part in it. The map
of the modules is in the package's ``README.md``.
"""

from apis_signing.keys import Keys, Role, make_keys, read_keys
from apis_signing.words import OPEN, Words, is_signed, words_of_operator

__all__ = [
    "OPEN",
    "Keys",
    "Role",
    "Words",
    "is_signed",
    "make_keys",
    "read_keys",
    "words_of_operator",
]
