"""Tells what lasts from what passes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

__all__ = ["Debounce"]


@dataclass(slots=True)
class Debounce:
    """Tells what lasts from what passes, by time and not by the number of looks.

    Attributes:
        lasts_ns: What has been seen for so long without a good reading in between is real, if at
            least two readings of the converter say so. [ns]
    """

    lasts_ns: int
    _since: dict[str, tuple[int, int]] = field(default_factory=dict)

    def is_real(self, code: str, stamp_ns: int, now_ns: int) -> bool:
        """A violation was seen in the reading of that stamp; whether it is to be believed."""
        first_ns, first_stamp_ns = self._since.setdefault(code, (now_ns, stamp_ns))
        return now_ns - first_ns >= self.lasts_ns and stamp_ns != first_stamp_ns

    def keep_only(self, codes: Collection[str]) -> None:
        """What was not seen this time is good again."""
        for code in [code for code in self._since if code not in codes]:
            del self._since[code]
