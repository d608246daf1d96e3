"""The emulated hardware of a grid: houses, batteries, converters and the DC bus between them.

The map of the modules is in the package's ``README.md``.
"""

import apis_core.config  # noqa: F401 - first of all, tells a pydantic that is too old
