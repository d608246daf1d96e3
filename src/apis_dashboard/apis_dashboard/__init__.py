"""The web page: a picture of the grid, its deals and faults, and the operation mode switch."""

import apis_core.config  # noqa: F401 - first of all, tells a pydantic that is too old
