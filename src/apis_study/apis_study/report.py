"""The results of a study as one page that needs nothing beside itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apis_study.study import Results

__all__ = ["report"]

_ROWS = (  # title, key, divisor, unit
    ("Bought from the mains", "mains_wh", 1000.0, "kWh"),
    ("Load not supplied", "unserved_wh", 1000.0, "kWh"),
    ("Sun not used", "curtailed_wh", 1000.0, "kWh"),
    ("Exchanged (received)", "received_wh", 1000.0, "kWh"),
    ("Lost in converters that are on", "lost_converter_wh", 1000.0, "kWh"),
    ("Lost in lines", "lost_line_wh", 1000.0, "kWh"),
    ("Lost in batteries", "lost_battery_wh", 1000.0, "kWh"),
    ("Deals", "deals", 1.0, ""),
    ("Full cycles of a battery", "full_cycles", 1.0, ""),
    ("Self-sufficiency", "self_sufficiency_ratio", 0.01, "%"),
    ("Self-consumption", "self_consumption_ratio", 0.01, "%"),
    ("Self-sufficiency of the worst house", "worst_self_sufficiency_ratio", 0.01, "%"),
    ("Loss of load", "loss_of_load_ratio", 0.01, "%"),
    ("Saved against no exchange", "saved_ratio", 0.01, "%"),
    ("Exchange performance index", "performance_index_ratio", 0.01, "%"),
    ("Houses that pay more than alone", "houses_worse_off", 1.0, ""),
    ("Cost", "cost_points", 1.0, "points"),
    ("CO2 of the mains", "co2_kg", 1.0, "kg"),
)
_COLOURS = ("#7a869a", "#d1892f", "#2f7d5b", "#3c6fb4", "#8e5ba6", "#b4503c", "#4d9aa8", "#6b6b6b")
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
  color: #222; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .3rem .6rem; text-align: right; }
th:first-child, td:first-child { text-align: left; }
tr:nth-child(even) { background: #8882; }
thead th { border-bottom: 2px solid #888; }
figure { margin: 2rem 0; }
figcaption { font-weight: 600; }
svg text { font: 12px system-ui, sans-serif; fill: currentColor; }
@media (prefers-color-scheme: dark) { body { background: #16181c; color: #ddd; } }
"""
_DAYS_A_BAR = 30


def report(results: Results) -> str:
    """The page, in HTML."""
    names = list(results.kpis)
    colours = {name: _COLOURS[k % len(_COLOURS)] for k, name in enumerate(names)}
    pictures = [
        _figure(
            "Energy that the village did not make itself: bought, or gone without [kWh]",
            _bars({name: [_missing_kwh(k)] for name, k in results.kpis.items()}, [""], colours),
        ),
        _by_time(results, colours),
        _by_house(results, colours),
    ]
    body = "\n".join(picture for picture in pictures if picture)
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en"><head><meta charset="utf-8"><title>What exchange brings</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body>\n<h1>What exchange brings</h1>\n"
        f"{_headline(results)}\n{_table(results, names)}\n{body}\n</body></html>\n"
    )


def _missing_kwh(kpis: Mapping[str, float]) -> float:
    return (kpis["mains_wh"] + kpis["unserved_wh"]) / 1000.0


def _headline(results: Results) -> str:
    words = []
    for name, kpis in results.kpis.items():
        if "performance_index_ratio" in kpis and kpis.get("deals"):
            words.append(
                f"<b>{escape(name)}</b> saves {kpis['saved_wh'] / 1000.0:,.0f} kWh "
                f"({kpis['saved_ratio']:.1%}), {kpis['performance_index_ratio']:.0%} of what "
                "sharing everything without loss would"
            )
    return f"<p>{'; '.join(words)}.</p>" if words else ""


def _table(results: Results, names: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = []
    for title, key, divisor, unit in _ROWS:
        if not any(key in results.kpis[name] for name in names):
            continue
        cells = [results.kpis[name].get(key) for name in names]
        texts = ["–" if cell is None else f"{cell / divisor:,.1f}" for cell in cells]
        label = f"{title} [{unit}]" if unit else title
        columns = "".join(f"<td>{text}</td>" for text in texts)
        rows.append(f"<tr><td>{label}</td>{columns}</tr>")
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _by_time(results: Results, colours: Mapping[str, str]) -> str:
    """Bought in each month or so."""
    series: dict[str, list[float]] = {}
    days = 0
    for name, houses in results.days.items():
        if not houses:
            continue
        days = max(len(ends) for ends in houses.values())
        total = [
            sum(ends[day]["mains_wh"] + ends[day]["unserved_wh"] for ends in houses.values())
            for day in range(days)
        ]
        marks = [*range(_DAYS_A_BAR - 1, days, _DAYS_A_BAR)]
        if not marks or marks[-1] != days - 1:
            marks.append(days - 1)
        sums = [total[mark] for mark in marks]
        pairs = zip(sums, [0.0, *sums[:-1]], strict=True)
        series[name] = [(now - before) / 1000.0 for now, before in pairs]
    if days <= _DAYS_A_BAR:
        return ""
    labels = [f"day {1 + k * _DAYS_A_BAR}" for k in range(len(next(iter(series.values()))))]
    return _figure(f"The same by {_DAYS_A_BAR} days [kWh]", _bars(series, labels, colours))


def _by_house(results: Results, colours: Mapping[str, str]) -> str:
    """What each house saves."""
    series = {
        name: [house["saved_wh"] / 1000.0 for house in houses.values()]
        for name, houses in results.houses.items()
        if houses and all("saved_wh" in house for house in houses.values())
    }
    if not series:
        return ""
    labels = list(next(houses for houses in results.houses.values() if houses))
    title = "What each house buys less, or goes less without, than alone [kWh]"
    return _figure(title, _bars(series, labels, colours))


def _figure(title: str, svg: str) -> str:
    return f"<figure><figcaption>{escape(title)}</figcaption>{svg}</figure>"


def _bars(
    series: Mapping[str, Sequence[float]], labels: Sequence[str], colours: Mapping[str, str]
) -> str:
    """Groups of bars, one of each series side by side, as SVG."""
    width, height, left, top, bottom = 960.0, 300.0, 70.0, 30.0, 28.0
    values = [value for each in series.values() for value in each]
    high, low = max([*values, 0.0]), min([*values, 0.0])
    span = (high - low) or 1.0

    def y(value: float) -> float:
        return top + (high - value) / span * (height - top - bottom)

    group = (width - left) / max(len(labels), 1)
    bar = 0.8 * group / max(len(series), 1)
    parts = [
        f'<line x1="{left}" x2="{width}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="#8884"/>'
        f'<text x="{left - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:,.0f}</text>'
        for tick in (low, 0.5 * (low + high), high)
    ]
    for number, (name, each) in enumerate(series.items()):
        colour = colours[name]
        parts.append(
            f'<rect x="{left + 150 * number:.0f}" y="6" width="12" height="12" fill="{colour}"/>'
            f'<text x="{left + 150 * number + 16:.0f}" y="16">{escape(name)}</text>'
        )
        for place, value in enumerate(each):
            x = left + place * group + 0.1 * group + number * bar
            at, tall = min(y(value), y(0.0)), abs(y(value) - y(0.0))
            tip = f"{escape(name)} {escape(labels[place])}: {value:,.1f}"
            parts.append(
                f'<rect x="{x:.1f}" y="{at:.1f}" width="{max(bar - 1, 1):.1f}" '
                f'height="{max(tall, 0.5):.1f}" fill="{colour}"><title>{tip}</title></rect>'
            )
    parts += [
        f'<text x="{left + (place + 0.5) * group:.1f}" y="{height - 8}" text-anchor="middle">'
        f"{escape(label)}</text>"
        for place, label in enumerate(labels)
    ]
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" width="100%">'
        f"{''.join(parts)}</svg>"
    )
