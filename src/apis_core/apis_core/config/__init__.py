"""Configuration files: checked once, then frozen; and every time limit that follows from them.

A pydantic that is too old is told here, in one line: packages whose modules import from it import
this one first.
"""

import pydantic

from apis_core.model.libraries import require_library

require_library("pydantic", pydantic.VERSION, "2.5")
