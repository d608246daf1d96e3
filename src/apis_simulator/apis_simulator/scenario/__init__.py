"""Stories told to the simulator in virtual time, and what must be true of them."""

import apis_core.config  # noqa: F401 - first of all, tells a pydantic that is too old
