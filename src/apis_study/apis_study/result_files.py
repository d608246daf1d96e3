"""The results of a study as files, and as a table on a terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from apis_study.kpis import ENERGIES
from apis_study.report import report
from apis_study.study import Results

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["summary", "write"]

_COLUMNS = (  # title, key, divisor
    ("mains kWh", "mains_wh", 1000.0),
    ("unserved kWh", "unserved_wh", 1000.0),
    ("curtailed kWh", "curtailed_wh", 1000.0),
    ("received kWh", "received_wh", 1000.0),
    ("lost kWh", "lost_converter_wh", 1000.0),
    ("deals", "deals", 1.0),
    ("saved %", "saved_ratio", 0.01),
    ("index %", "performance_index_ratio", 0.01),
    ("worse off", "houses_worse_off", 1.0),
)


def write(results: Results, folder: Path) -> list[Path]:
    """Write all that is there; returns the files.

    Raises:
        OSError: A file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, content in (("kpis", results.kpis), ("houses", results.houses)):
        file = folder / f"{name}.json"
        text = json.dumps(content, indent=1, sort_keys=True) + "\n"
        file.write_text(text, encoding="utf-8")
        files.append(file)
    for name, table in (
        ("kpis", _village_table(results)),
        ("houses", _house_table(results)),
        ("days", _day_table(results)),
    ):
        csv, parquet = folder / f"{name}.csv", folder / f"{name}.parquet"
        table.to_csv(csv, index=False)
        table.to_parquet(parquet, index=False, engine="fastparquet")
        files += [csv, parquet]
    page = folder / "report.html"
    page.write_text(report(results), encoding="utf-8")
    return [*files, page]


def summary(results: Results) -> str:
    """A table of the cases, for people."""
    width = max([len(name) for name in results.kpis] + [4])
    lines = ["case".ljust(width) + "".join(title.rjust(15) for title, _, _ in _COLUMNS)]
    for name, kpis in results.kpis.items():
        cells = [
            f"{kpis[key] / divisor:.{1 if divisor != 1.0 else 0}f}" if key in kpis else "–"
            for _, key, divisor in _COLUMNS
        ]
        lines.append(name.ljust(width) + "".join(cell.rjust(15) for cell in cells))
    return "\n".join(lines)


def _village_table(results: Results) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([{"case": case, **kpis} for case, kpis in results.kpis.items()])


def _house_table(results: Results) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        [
            {"case": case, "unit_id": unit_id, **kpis}
            for case, houses in results.houses.items()
            for unit_id, kpis in houses.items()
        ]
    )


def _day_table(results: Results) -> pd.DataFrame:
    """What each house did in each day; the store as it was at the end."""
    import pandas as pd

    rows = []
    for case, houses in results.days.items():
        for unit_id, ends in houses.items():
            before = dict.fromkeys(ENERGIES, 0.0)
            for day, end in enumerate(ends, start=1):
                row = {key: end[key] - before[key] for key in ENERGIES}
                row["stored_wh"] = end["stored_wh"]
                rows.append({"case": case, "day": day, "unit_id": unit_id, **row})
                before = end
    return pd.DataFrame(rows, columns=["case", "day", "unit_id", *ENERGIES])
