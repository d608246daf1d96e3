"""A study: the cases of a village, one after the other, and what came of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apis_core.model.errors import ConfigError, Problem
from apis_site.files import read_text
from apis_site.grid import GridDescription, parse_grid
from apis_study.cases import Case, CaseResult, cases_of, run_case
from apis_study.kpis import Kpis
from apis_study.village import Village

__all__ = ["Results", "Study"]

Tell = Callable[[str, float], None]  # a case, and the part of the study that is done


@dataclass
class Results:
    """What came of a study, by case.

    Attributes:
        kpis: Of the village.
        houses: Of each house, by its unit.
        days: By unit, what its counters said at the end of each day.
    """

    kpis: dict[str, Kpis] = field(default_factory=dict)
    houses: dict[str, dict[str, Kpis]] = field(default_factory=dict)
    days: dict[str, dict[str, list[Kpis]]] = field(default_factory=dict)

    def add(self, case: Case, result: CaseResult) -> None:
        """Take a case in, and compare it with the one without exchange."""
        self.kpis[case.name] = dict(result.kpis)
        self.houses[case.name] = {unit_id: dict(kpis) for unit_id, kpis in result.houses.items()}
        self.days[case.name] = result.days
        alone = self.kpis.get(case.compared_with)
        if alone is None or case.name == case.compared_with:
            return
        kpis = self.kpis[case.name]
        saved_wh = _import_wh(alone) - _import_wh(kpis)
        kpis["saved_wh"] = saved_wh
        kpis["saved_ratio"] = saved_wh / max(_import_wh(alone), 1e-9)
        if result.houses:
            kpis["houses_worse_off"] = 0.0
        for unit_id, house in self.houses[case.name].items():
            before = self.houses[case.compared_with][unit_id]
            house["saved_wh"] = _import_wh(before) - _import_wh(house)
            house["saved_points"] = before["cost_points"] - house["cost_points"]
            kpis["houses_worse_off"] += house["saved_points"] < 0.0
        self._index()

    def _index(self) -> None:
        """How much of what a loss-free exchange would gain each case has gained."""
        best = self.kpis.get("pool", {}).get("saved_wh", 0.0)
        alone = self.kpis.get("none")
        if alone is None or best <= 0.0:
            return
        for kpis in self.kpis.values():
            if kpis is not alone and "saved_wh" in kpis:
                kpis["performance_index_ratio"] = kpis["saved_wh"] / best


class Study:
    """A village, studied.

    Args:
        grid: A resolved description; its section ``study`` says what is wanted.

    Raises:
        ConfigError: A file that it names is wrong; lists every problem.
    """

    def __init__(self, grid: GridDescription) -> None:
        self.grid = grid
        self.settings = grid.study
        self.village = Village.of(grid)
        self.cases = cases_of(self.village, self.settings)

    @staticmethod
    def read(file: str | Path) -> Study:
        """The study of a resolved grid description in a JSON file.

        Raises:
            ConfigError: The file, or one that it names, is wrong.
        """
        try:
            data = json.loads(read_text(file))
        except ValueError as error:
            raise ConfigError([Problem(str(file), "", "", f"it must be JSON: {error}")]) from error
        return Study(parse_grid(data, str(file)))

    def run(self, tell: Tell | None = None, keep: Path | None = None) -> Results:
        """Let all cases happen.

        Args:
            tell: Called with the case and the part of the study that is done, 0..1.
            keep: Folder of the cases that are done: what an earlier run of the same study left
                there is taken over, and each case is written when it is done. None = none is kept.

        Returns:
            The results of all cases.
        """
        results = Results()
        self.run_into(results, tell, keep)
        return results

    def run_into(
        self, results: Results, tell: Tell | None = None, keep: Path | None = None
    ) -> None:
        """Like :meth:`run`; what is done when it is interrupted stands in `results`."""
        count = len(self.cases)
        for index, case in enumerate(self.cases):
            file = None if keep is None else keep / f"{_file_name(case.name)}.json"
            result = None if file is None else self._kept(file, case)
            if result is None:

                def tell_part(part: float, index: int = index, name: str = case.name) -> None:
                    if tell is not None:
                        tell(name, (index + part) / count)

                result = run_case(case, self.settings, self.grid.emulator.seed, tell_part)
                if file is not None:
                    self._keep(file, case, result)
            results.add(case, result)

    def _kept(self, file: Path, case: Case) -> CaseResult | None:
        try:
            kept = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if kept.get("of") != self._fingerprint(case):
            return None
        return CaseResult(kept["kpis"], kept["houses"], kept["days"], kept["events"])

    def _keep(self, file: Path, case: Case, result: CaseResult) -> None:
        content: Mapping[str, Any] = {
            "of": self._fingerprint(case),
            "kpis": result.kpis,
            "houses": result.houses,
            "days": result.days,
            "events": result.events,
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = file.with_suffix(".part")
        unfinished.write_text(json.dumps(content), encoding="utf-8")
        unfinished.replace(file)

    def _fingerprint(self, case: Case) -> str:
        """What a case depends on, as far as it can be told: the grid, its files, the profiles."""
        settings = self.settings
        digest = hashlib.sha256()
        for part in (
            case.name,
            self.grid.model_dump_json(exclude={"study"}),
            settings.days,
            settings.step_s,
            settings.physics,
            settings.mains_point_per_wh,
            settings.co2_kg_per_kwh,
            case.village.policy,
            [(h.scenario, h.hardware, h.capacity_wh) for h in case.village.houses],
        ):
            digest.update(repr(part).encode())
        for house in case.village.houses:
            for values, *_ in (house.solar, house.load):
                digest.update(values.tobytes())
        return digest.hexdigest()


def _import_wh(kpis: Mapping[str, float]) -> float:
    """What a house or village did not make itself: bought, or gone without. [Wh]"""
    return kpis["mains_wh"] + kpis["unserved_wh"]


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in name)
