"""One deal, as the grid master runs it: from the locks of its slots to their release.

    ACQUIRING ─► QUEUED ─► (bus comes up) ─► STARTING ─► COMPENSATING ─► RUNNING
        │          │ ▲           │               └─────────────┴────────────┤ done, or abort
        │          │ └── reset ──┤                                          ▼
        │          │             └──────────────► LEAVING ◄────────────  STOPPING
        └──────────┴─ refused, or abort ─► RELEASING ◄─┘
                                               └─► over

Every change that a deal may make stands in ``transitions.py``. ``machine.py`` is what the grid
master calls; it passes answers, time and wishes on to the parts: ``startup.py``,
``compensation.py``, ``metering.py`` (while it runs) and ``shutdown.py``. What they share is in
``progress.py``, with a ``side.py`` for each of both units.
"""
