"""The section of docs/performance.md on thousands of actions."""

from statistics import median
from typing import Any

SECTION = """\
## Thousands of actions

One MASPDQN update with Nature CNN, batch size {batch_size}, one thread, 4 primitives and k macros:
milliseconds of processor time, as the median over {rounds} rounds in which all arms took turns,
each in a process of its own; and peak memory beyond that of the imports. The network's last layer
grows with k too, by 512 weights per action; SB3's DQN shows the cost of that alone.

{tables}

From k = {fewest} to k = {most}, the time of an update grows by these factors:

| Σ | {intervals} |
|---|{rules}
{growth}
"""


def size_section(result: dict[str, Any]) -> str:
    """Render the tables of times and of memory, and the growth of times."""
    arms = result["arms"]
    forms, macros, intervals = (
        list(dict.fromkeys(arm[name] for arm in arms))
        for name in ("form", "macros", "meta_interval")
    )
    found = {(arm["form"], arm["macros"], arm["meta_interval"]): arm for arm in arms}
    tables = [
        _table(
            f"ms, `meta_interval={interval}`",
            macros,
            {
                form: [1e3 * median(found[form, k, interval]["processor"]) for k in macros]
                for form in forms
            },
        )
        for interval in intervals
    ]
    peaks = {
        form: [max(found[form, k, i]["peak"] for i in intervals) for k in macros] for form in forms
    }
    tables.append(_table("MB", macros, peaks))
    growth = "\n".join(
        f"| {_named(form)} | "
        + " | ".join(f"{result['growth'][f'{form}, meta_interval={i}']:.2f}" for i in intervals)
        + " |"
        for form in forms
    )
    return SECTION.format(
        batch_size=result["batch_size"],
        rounds=len(arms[0]["processor"]),
        tables="\n\n".join(tables),
        fewest=macros[0],
        most=macros[-1],
        intervals=" | ".join(f"`meta_interval={i}`" for i in intervals),
        rules="---|" * len(intervals),
        growth=growth,
    )


def _table(what: str, macros: list[int], rows: dict[str, list[float]]) -> str:
    """A row for each form, a column for each number of macros."""
    head = f"| {what} | " + " | ".join(f"k = {k}" for k in macros) + " |"
    lines = [
        f"| {_named(form)} | " + " | ".join(f"{value:,.0f}" for value in values) + " |"
        for form, values in rows.items()
    ]
    return "\n".join([head, "|---|" + "---|" * len(macros), *lines])


def _named(form: str) -> str:
    """A form of Σ as code; other names as they are."""
    return form if " " in form else f'`"{form}"`'
