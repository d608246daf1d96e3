"""Sun and load from files of the original ``apis-emulator``.

*Sun*: no header, a row a day from 1 January, 24 columns: power of one house at each full hour. [W]
*Load*: one header line, then a row per customer and day from 1 January. Column 1 (counted from 0)
is the customer, columns 6 to 53 the power at 00:00, 00:30, ... 23:30. [kW] As in the original only
the 24 values at full hours count. Customer 1 is unit ``E001``, and so on.

A year has 365 rows, or 366 with 29 February.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable

import numpy as np

from apis_core.model.errors import ConfigError, Problem
from apis_emulator.profiles.series import DAYS, FloatArray, Year
from apis_site.files import read_text

__all__ = ["customer_of", "customers_of", "hourly_year", "read_load_csv", "read_solar_csv"]

HOURS = 24
CUSTOMER_COLUMN, FIRST_VALUE_COLUMN, LOAD_COLUMNS = 1, 6, 54
MAX_PROBLEMS = 8  # of one file; a file that is something else altogether has thousands
LIMIT_BYTES = 256 << 20  # a hundred thousand rows of a load file
LEAP_DAYS = DAYS + 1
_LEAP_DAY = 60  # day of the year of 29 February


def read_solar_csv(file: str, *, most_days: int = LEAP_DAYS) -> FloatArray:
    """Power at each hour of the year, days by hours. [W, >= 0]

    Args:
        file: Its name.
        most_days: How many rows it may have.

    Raises:
        ConfigError: Lists every problem with its row and column, both counted from 1.
    """
    problems: list[Problem] = []
    days: list[list[float]] = []
    for row, cells in _rows(file):
        if len(cells) == HOURS:
            days.append(_values(file, row, cells, range(HOURS), "W", problems))
        else:
            right = f"a row has {HOURS} columns, one per hour{_other_separator(cells)}"
            problems.append(Problem(file, f"row {row}", f"{len(cells)} columns wide", right))
    if not DAYS <= len(days) <= most_days and not problems:
        right = f"it must have {_wanted_days(most_days)}, one per day"
        problems.append(Problem(file, "", f"{len(days)} rows long", right))
    _raise(file, problems)
    return np.array(days)


def customers_of(file: str) -> list[int]:
    """The customers that a load file has, in the order of their numbers.

    Raises:
        ConfigError: The file cannot be read, or has none.
    """
    numbers = {
        int(cells[CUSTOMER_COLUMN])
        for row, cells in _rows(file)
        if row > 1 and len(cells) > CUSTOMER_COLUMN and cells[CUSTOMER_COLUMN].strip().isdecimal()
    }
    if not numbers:
        right = f"it must have customers' numbers in column {CUSTOMER_COLUMN + 1}"
        raise ConfigError([Problem(file, "", "", right)])
    return sorted(numbers)


def read_load_csv(
    file: str,
    customers: Iterable[int],
    *,
    per_kw: float = 1000.0,
    most_days: int = LEAP_DAYS,
) -> dict[int, FloatArray]:
    """Power at each hour of the year of these customers, days by hours. [W, >= 0]

    Args:
        file: Its name.
        customers: Whom to read.
        per_kw: In which unit the answer is; 1 gives the file's own kW. [1/kW]
        most_days: How many rows each of them may have.

    Raises:
        ConfigError: Lists every problem in the rows of these customers.
    """
    problems: list[Problem] = []
    days: dict[int, list[list[float]]] = {customer: [] for customer in customers}
    seen: set[int] = set()
    for row, cells in _rows(file):
        if row == 1:
            continue  # header
        number = cells[CUSTOMER_COLUMN].strip() if len(cells) > CUSTOMER_COLUMN else ""
        if not number.isdecimal():
            where = f"row {row}, column {CUSTOMER_COLUMN + 1}"
            right = f"it must be the customer's number, 1 or more{_other_separator(cells)}"
            problems.append(Problem(file, where, number or "empty", right))
            continue
        seen.add(int(number))
        wanted = days.get(int(number))
        if wanted is None:
            continue
        if len(cells) < LOAD_COLUMNS:
            right = f"a row has {LOAD_COLUMNS} columns, {LOAD_COLUMNS - FIRST_VALUE_COLUMN} values"
            problems.append(Problem(file, f"row {row}", f"{len(cells)} columns wide", right))
            continue
        columns = range(FIRST_VALUE_COLUMN, LOAD_COLUMNS)
        half_hours = _values(file, row, cells, columns, "kW", problems)
        wanted.append([per_kw * value for value in half_hours[::2]])
    wrong = [] if problems else [c for c, r in days.items() if not DAYS <= len(r) <= most_days]
    for customer in wrong:
        known = f"it has customers {min(seen)} to {max(seen)}" if seen else "it has none"
        right = (
            f"customer {customer} must have {_wanted_days(most_days)} rows, one per day; {known}"
        )
        problems.append(Problem(file, "", f"{len(days[customer])} rows long for them", right))
    _raise(file, problems)
    return {customer: np.array(rows) for customer, rows in days.items()}


def customer_of(unit_id: str) -> int | None:
    """Customer number of a unit: the digits at the end of its id; None if it has none."""
    digits = re.search(r"\d+$", unit_id)
    return int(digits.group()) if digits else None


def hourly_year(year: Year, days: FloatArray) -> FloatArray:
    """Samples of a calendar year (days by hours of local time), laid along the emulated year.

    29 February has the values of the 28th, if the samples have none of its own.
    """
    instants = year.instants(3600.0)
    day = np.asarray(instants.dayofyear)
    if len(days) == LEAP_DAYS:
        day = day + (~np.asarray(instants.is_leap_year) & (day >= _LEAP_DAY))
    else:
        day = day - (np.asarray(instants.is_leap_year) & (day >= _LEAP_DAY))
    return np.asarray(days[day - 1, np.asarray(instants.hour)], dtype=np.float64)


def _rows(file: str) -> Iterable[tuple[int, list[str]]]:
    """Rows that are not empty, with their number counted from 1.

    Raises:
        ConfigError: The file cannot be read, or a row is no CSV.
    """
    lines = read_text(file, limit_bytes=LIMIT_BYTES).splitlines()
    row = 0
    try:
        for row, cells in enumerate(csv.reader(lines), start=1):
            if any(cell.strip() for cell in cells):
                yield row, cells
    except csv.Error as error:  # such as a field without end
        raise ConfigError([Problem(file, f"row {row + 1}", "", f"is no CSV: {error}")]) from None


def _other_separator(cells: list[str]) -> str:
    """What may be meant, if a row is one cell that others cut."""
    names = {";": "semicolons", "\t": "tabs"}
    near = [name for mark, name in names.items() if len(cells) == 1 and mark in cells[0]]
    return f"; commas must stand between them, not {near[0]}" if near else ""


def _wanted_days(most_days: int) -> str:
    return f"{DAYS} or {LEAP_DAYS}" if most_days == LEAP_DAYS else f"{DAYS} or more"


def _values(
    file: str,
    row: int,
    cells: list[str],
    columns: Iterable[int],
    unit: str,
    problems: list[Problem],
) -> list[float]:
    """Numbers of some columns; what is wrong is added to the problems and stands as NaN."""
    values = []
    for column in columns:
        try:
            value = float(cells[column])
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= 0.0):
            where = f"row {row}, column {column + 1}"
            found = cells[column].strip() or "empty"
            problems.append(
                Problem(file, where, found, f"it must be a number of {unit}, 0 or more")
            )
        values.append(value)
    return values


def _raise(file: str, problems: list[Problem]) -> None:
    if len(problems) > MAX_PROBLEMS:
        more = Problem(file, "", "", f"{len(problems) - MAX_PROBLEMS} more of such problems")
        problems = [*problems[:MAX_PROBLEMS], more]
    if problems:
        raise ConfigError(problems)
