"""Whatever is lost, late, twice or restarted, and though clocks differ: never two masters."""

from __future__ import annotations

import heapq
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from apis_core.cluster.election import Election
from apis_core.config.timing import ElectionTiming
from apis_core.events import Broadcast, Effect, Record
from apis_core.model.messages import GridMasterClaim
from apis_core.model.types import NOBODY
from apis_core.model.units import NEVER_NS, SECOND_NS

# the back-off is short against the lease, so that it does not hide what the lease leaves open
TIMING = ElectionTiming(heartbeat_ns=SECOND_NS // 20, lease_ns=4 * SECOND_NS)
LENGTH_NS = 40 * SECOND_NS
QUIET_NS = 20 * SECOND_NS  # without faults, in which somebody must be elected


class Cluster:
    """Elections on a bad network; every unit's own clock runs within 5 % of the true one."""

    def __init__(self, seed: int, count: int, loss: float, longest_s: float) -> None:
        self.random = Random(seed)
        self.members = tuple(f"E{number:03}" for number in range(1, count + 1))
        self.loss, self.longest_ns = loss, round(longest_s * SECOND_NS)
        self.rates = {unit_id: self.random.choice([0.95, 1.0, 1.05]) for unit_id in self.members}
        self.offsets = {unit_id: self.random.randrange(10**12) for unit_id in self.members}
        self.notes: dict[str, Record | None] = dict.fromkeys(self.members)
        self.now_ns, self._count = 0, 0
        self._armed: dict[str, int] = {}
        self._cut: set[str] = set()  # these hear only each other
        self._heap: list[tuple[int, int, str, object]] = []
        self.units: dict[str, Election] = {}
        for unit_id in self.members:
            self.start(unit_id)

    def local_ns(self, unit_id: str) -> int:
        return self.offsets[unit_id] + round(self.now_ns * self.rates[unit_id])

    def start(self, unit_id: str) -> None:
        note = self.notes[unit_id]
        self.units[unit_id] = Election(
            unit_id=unit_id,
            instance_id=unit_id,
            member_ids=self.members,
            timing=TIMING,
            random=self.random,
            now_ns=self.local_ns(unit_id),
            term=note.entry.term if note else 0,
            granted_to=note.entry.unit_id if note else NOBODY,
        )
        self._arm(unit_id)

    def run(self, length_ns: int) -> None:
        end_ns = self.now_ns + length_ns
        while self._heap and self._heap[0][0] <= end_ns:
            self.now_ns, _, unit_id, message = heapq.heappop(self._heap)
            unit, local_ns = self.units[unit_id], self.local_ns(unit_id)
            if message is None:
                effects = unit.tick(local_ns)
            elif isinstance(message, GridMasterClaim):
                effects = unit.hear_claim(message, local_ns)
            else:
                effects = unit.hear_grant(message, local_ns)
            self._do(unit_id, effects)
            assert len(self.masters()) <= 1, self.masters()
            if self.loss and self.random.random() < 0.0003:
                self.start(self.random.choice(self.members))  # killed and restarted
            if not self.loss:
                self._cut = set()
            elif self.random.random() < 0.0007:
                size = self.random.choice([0, 1, len(self.members) // 2])
                self._cut = set(self.random.sample(self.members, size))

    def masters(self) -> list[str]:
        return [u for u in self.members if self.units[u].is_master(self.local_ns(u))]

    def _do(self, unit_id: str, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Record):
                self.notes[unit_id] = effect
            if isinstance(effect, Broadcast):
                for to in self.members:
                    is_cut = (unit_id in self._cut) != (to in self._cut)
                    copies = 0 if is_cut or self.random.random() < self.loss else 1
                    for _ in range(copies + (self.random.random() < self.loss / 4)):
                        delay_ns = round(self.longest_ns * self.random.random() ** 4) + 1
                        self._at(self.now_ns + delay_ns, to, effect.message)
        self._arm(unit_id)

    def _arm(self, unit_id: str) -> None:
        wake_ns = self.units[unit_id].wake_ns
        if wake_ns < NEVER_NS and self._armed.get(unit_id) != wake_ns:
            self._armed[unit_id] = wake_ns
            true_ns = round((wake_ns - self.offsets[unit_id]) / self.rates[unit_id]) + 1
            self._at(true_ns, unit_id, None)

    def _at(self, time_ns: int, unit_id: str, message: object) -> None:
        self._count += 1
        heapq.heappush(self._heap, (max(time_ns, self.now_ns + 1), self._count, unit_id, message))


@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 5),
    loss=st.floats(0.01, 0.6),
    longest_s=st.floats(0.001, 0.5),
)
@settings(max_examples=60, deadline=None)
def test_never_two_masters_and_with_the_faults_over_one(seed, count, loss, longest_s):
    cluster = Cluster(seed, count, loss, longest_s)
    cluster.run(LENGTH_NS)
    cluster.loss, cluster.longest_ns = 0.0, SECOND_NS // 50
    cluster.run(QUIET_NS)
    assert len(cluster.masters()) == 1
