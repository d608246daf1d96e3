"""A whole cluster in one process, in virtual time, from one seed: the hunt for bad schedules.

N agents, their drivers and the bus run on an event heap. A seed fixes every delay, loss, crash
and refusal, so a seed that breaks an invariant breaks it again: see docs/simulator.md.
"""
