"""What lies on the disk of a site: files of people, keys, and what processes write down."""

import apis_core.config  # noqa: F401 - first of all, tells a pydantic that is too old
