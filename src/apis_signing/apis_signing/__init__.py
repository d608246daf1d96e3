"""Who may say what on the graph: the keys of a grid, and signatures over its messages.

``keys`` are files, ``canonical`` makes the bytes of a message, ``words`` signs and refuses. It
knows messages by their fields alone, so it needs no ROS; nodes and tools call it where they send
and where they hear. ``parameters`` says which parameters a node has, and that nobody changes them
unsigned. The core has no part in it.
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
