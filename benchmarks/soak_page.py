"""The section on the soak: its figures as text, and its course as a plot."""

from pathlib import Path
from typing import Any

import numpy as np

from macro_gym.files import replacing

PICTURE = "images/soak.svg"

SECTION = """\
## An hour at full buffer

`MASPDQN` on Breakout's images with {k} macros and {n_envs} environments, for {minutes:g} minutes
from the first update on, with the buffer of {capacity:,} decisions full throughout: {updates:,}
updates, {decisions:,} decisions. The last {window:g} minutes are compared with the first {window:g}
after {warm_up:g} minutes of warm-up. A fixed piece of work, done between samples in a separate
process, shows how fast the machine was (median: {work[0]:.1f} ms in the first minutes,
{work[1]:.1f} ms in the last); the last row of the table counts the decisions in the time it takes.
Memory is that of all processes, including the environments'; *allocated* is the part that the
learner's process has requested from its C library and not returned. Both are medians over the same
minutes.

| | first {window:g} minutes | last {window:g} minutes | |
|---|---|---|---|
| memory, MiB | {memory[0]:,.0f} | {memory[1]:,.0f} | {drift:+.2f}% |
| allocated, MiB | {allocated[0]:,.1f} | {allocated[1]:,.1f} | {allocated_drift:+.2f}% |
| decisions per second | {second[0]:.1f} | {second[1]:.1f} | {ratio[second]:.2f} |
| decisions per second of processor time | {processor[0]:.1f} | {processor[1]:.1f} | \
{ratio[processor second]:.2f} |
| decisions in the time of the fixed work | {fixed[0]:.2f} | {fixed[1]:.2f} | \
{ratio[fixed work]:.2f} |

![Memory and throughput over the soak]({picture})
"""


def soak_section(result: dict[str, Any]) -> str:
    """Render the section from the result of `benchmarks.soak`."""
    parts = result["first"], result["last"]
    return SECTION.format(
        **result["settings"],
        updates=result["updates"],
        decisions=result["decisions"],
        memory=[part["memory"] / 2**20 for part in parts],
        second=[part["second"] for part in parts],
        processor=[part["processor second"] for part in parts],
        fixed=[part["fixed work"] for part in parts],
        work=[1000 * part["fixed work"] / part["second"] for part in parts],
        drift=result["memory_drift_percent"],
        allocated=[part["allocated"] / 2**20 for part in parts],
        allocated_drift=result["allocated_drift_percent"],
        ratio=result["throughput_ratio"],
        picture=PICTURE,
    )


def draw_soak(result: dict[str, Any], path: Path) -> None:
    """Draw memory and throughput over time, as an SVG that depends only on the result."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    samples = {name: np.array(values, float) for name, values in result["samples"].items()}
    minutes = samples["seconds"] / 60
    memory = (samples["resident"] + samples["resident_of_environments"]) / 2**20
    with rc_context({"svg.hashsalt": "soak"}):
        figure = Figure(figsize=(8, 6), layout="constrained")
        above, middle, below = figure.subplots(3, sharex=True)
        above.plot(minutes, memory, label="all processes")
        above.plot(minutes, samples["allocated"] / 2**20, label="allocated by the learner's")
        above.legend(frameon=False, loc="lower right")
        above.set(ylabel="memory, MiB", ylim=(0, 1.15 * memory.max()))
        for name, label in (
            ("seconds", "second"),
            ("processor_seconds", "second of processor time"),
        ):
            speed = np.diff(samples["decisions"]) / np.diff(samples[name])
            middle.plot(minutes[1:], speed, label=f"per {label}")
        middle.set(ylabel="decisions", ylim=(0, None))
        middle.legend(frameon=False, loc="lower right")
        below.plot(minutes, 1000 * samples["fixed_work"])
        below.set(xlabel="minutes at full buffer", ylabel="fixed work, ms", ylim=(0, None))
        with replacing(path) as file:
            figure.savefig(file, format="svg", metadata={"Date": None})
