"""Windows on a running grid: dashboard, RViz markers, rqt, recorder, metrics, the original's HTTP.

The map of the modules is in the package's ``README.md``.
"""

import apis_core.config  # noqa: F401 - first of all, tells a pydantic that is too old
