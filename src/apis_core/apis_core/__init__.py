"""The APIS protocol: pure Python, no ROS, no threads, no clock, no files.

The map of the modules is in the package's ``README.md``, the order in which to read them in
``CONTRIBUTING.md``.
"""

import pydantic

from apis_core.model.libraries import require_library

require_library("pydantic", pydantic.VERSION, "2.5")

from apis_core.model.errors import ApisError, ConfigError, Problem, ProtocolMisuse  # noqa: E402
from apis_core.unit.agent import Agent, AgentSettings  # noqa: E402
from apis_core.unit.persisted_state import PersistedState  # noqa: E402

__all__ = [
    "Agent",
    "AgentSettings",
    "ApisError",
    "ConfigError",
    "PersistedState",
    "Problem",
    "ProtocolMisuse",
]
