"""Reads the units' own books: what each wrote into its journal about deals that are over."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from apis_core.model.receipt import Receipt

__all__ = ["read_receipts"]


def read_receipts(journal: Path) -> dict[str, Receipt]:
    """What a unit counted for each deal of its own that is over, by deal id.

    Args:
        journal: The unit's journal (SQLite); its node may be running. One that is not there is
            empty.

    Raises:
        sqlite3.Error: The file is no journal, or damaged.
    """
    if not journal.is_file():
        return {}
    with closing(sqlite3.connect(f"{journal.resolve().as_uri()}?mode=ro", uri=True)) as database:
        bodies = database.execute(
            "SELECT body FROM entries WHERE kind = 'DealClosed' ORDER BY id"
        ).fetchall()
    receipts = [Receipt(**json.loads(body)["receipt"]) for (body,) in bodies]
    return {receipt.deal_id: receipt for receipt in receipts}
