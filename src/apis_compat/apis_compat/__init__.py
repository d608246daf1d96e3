"""The HTTP interfaces of the original APIS, for programs that were written for it."""

import apis_core.config  # noqa: F401 - first of all, tells a pydantic that is too old
