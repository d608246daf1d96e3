"""The APIS protocol: pure Python, no ROS, no threads, no clock, no files.

Start reading at :mod:`apis_core.types`, :mod:`apis_core.messages` and :mod:`apis_core.deal`;
:mod:`apis_core.agent` joins the machines to one unit.
"""

from apis_core.agent import Agent, AgentSettings
from apis_core.errors import ApisError, ConfigError, Problem, ProtocolMisuse
from apis_core.memory import Memory

__all__ = [
    "Agent",
    "AgentSettings",
    "ApisError",
    "ConfigError",
    "Memory",
    "Problem",
    "ProtocolMisuse",
]
