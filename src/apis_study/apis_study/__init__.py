"""What exchange brings: a village over a year, with and without it.

    from apis_study import Study

    results = Study(grid).run()
    results.kpis["configured"]["mains_wh"]

The decisions are those of the core; physics is the emulator's. docs/study.md says how, and what
the figures mean.
"""

from apis_study.study import Results, Study

__all__ = ["Results", "Study"]
