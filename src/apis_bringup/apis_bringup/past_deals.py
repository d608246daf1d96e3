"""Deals of the past, as the dashboard has kept them, and all deals as a table for other programs.

The graph tells a late comer of the last hundred records only, which are the last few deals: each
change is one. The dashboard hears every deal, and keeps it in the operator's history.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import datetime, tzinfo
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

from apis_bringup.records import DEAL_FIELDS
from apis_core.model.units import DAY_S
from apis_site.history_values import DealRecord
from apis_site.operator_history import HistoryError, OperatorHistory

__all__ = ["as_csv", "chosen_deals", "past_deals", "write_files"]

OVER = ("completed", "aborted", "scrammed")
RENAMED = {"agreed_wh": "energy_wh"}
TIMES = ("created_at", "started_at", "stopped_at", "ended_at")


def past_deals(store: Path, zone: tzinfo) -> dict[str, dict[str, Any]]:
    """The deals in the dashboard's store by id, as :func:`~apis_bringup.records.deal_record`.

    Args:
        store: The operator's history, of the run folder; may be missing.
        zone: For the times.
    """
    try:
        with closing(OperatorHistory.join(store)) as history:
            kept = [_record(deal, zone) for deal in history.deals()]
    except HistoryError:  # not there, empty so far, or no store of ours
        return {}
    return {record["deal_id"]: record for record in kept}


def _record(deal: DealRecord, zone: tzinfo) -> dict[str, Any]:
    data = vars(deal)
    record = {field: data.get(RENAMED.get(field, field)) for field in DEAL_FIELDS}
    for name in TIMES:
        seconds = data[f"{name}_s"]
        record[name] = seconds and datetime.fromtimestamp(seconds, zone).isoformat(
            timespec="milliseconds"
        )
    began_s, ended_s = deal.started_at_s, deal.stopped_at_s
    record["duration_s"] = round(ended_s - began_s, 3) if began_s and ended_s else None
    record["state"] = deal.state.name.lower()
    return record


def chosen_deals(
    past: Mapping[str, dict[str, Any]],
    present: Iterable[dict[str, Any]],
    *,
    now_s: float,
    unit_id: str | None = None,
    state: str | None = None,
    days: float = 0.0,
) -> list[dict[str, Any]]:
    """What was kept and what the graph tells, put together and filtered, the oldest first.

    Args:
        past: From :func:`past_deals`.
        present: From the graph, which is the newer.
        now_s: Grid time. [s]
        unit_id: Only deals of this unit.
        state: Only deals in this state.
        days: Only deals that began in the last so many days, or are not over; 0 = all.
    """
    found = dict(past)
    for record in present:
        kept = found.get(record["deal_id"])
        if kept is None or kept["state"] not in OVER:
            found[record["deal_id"]] = record

    def is_meant(record: Mapping[str, Any]) -> bool:
        began = record["created_at"]
        is_new = (
            not days
            or not began
            or record["state"] not in OVER
            or now_s - datetime.fromisoformat(began).timestamp() <= days * DAY_S
        )
        is_its = unit_id in (None, record["discharge_unit_id"], record["charge_unit_id"])
        return is_new and is_its and state in (None, record["state"])

    chosen = [record for record in found.values() if is_meant(record)]
    return sorted(chosen, key=lambda record: record["created_at"] or "")


def as_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """Deals as comma-separated values with a head line; what is not known is empty."""
    out = StringIO()
    writer = csv.DictWriter(out, DEAL_FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


def write_files(records: Iterable[Mapping[str, Any]], folder: Path) -> int:
    """Write a file for each deal, as the original does: ``YYYY/MM/DD/<deal id>``, the day on which
    it was made, with its record as JSON. Files that are there are written anew.

    Returns:
        How many.

    Raises:
        OSError: One cannot be written.
    """
    count = 0
    for record in records:
        day = (record["created_at"] or "unknown")[:10].replace("-", "/")
        file = folder / day / quote(record["deal_id"], safe="")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        count += 1
    return count
