"""The unit's ROS node: a thin shell round :mod:`apis_core`.

``translate`` turns messages into the core's values and back, ``journal`` keeps what must survive,
``shell`` carries out effects and feeds events, ``node`` is the process. A rule about deals that
seems to belong here belongs in the core.
"""
