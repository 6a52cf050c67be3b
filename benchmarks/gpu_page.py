"""The section of docs/performance.md on learning end to end, on a GPU if one was measured."""

from typing import Any

BASE = "SB3 DQN"
"""The learner that others are compared with."""

SECTION = """\
## Learning, end to end

Breakout, one update on {batch} decisions for every {ratio} decisions, measured on **{device}**.
{caveat}A decision lasts one primitive in SB3's DQN and in a single-file DQN modelled on CleanRL's,
both of which play ale-py's own vector environment, and longer in MASPDQN, which also plays {k}
macros. The share is of SB3's primitives per second, and most of it is due to the macros' length; to
compare the speed of learning itself, compare decisions. *Updates alone* are without playing.

| environments | learner | decisions/s | primitives/s | share of {base} | updates alone/s |
|---|---|---|---|---|---|
{rows}
"""

NO_GPU = """\
**No GPU was available**: nothing here shows how fast one would be, and CUDA graphs, which need one,
are left out. The machine was shared (load average {load:.0f} on {cores} cores), so times fluctuate.
"""


def gpu_section(result: dict[str, Any]) -> str:
    """Render the section."""
    rows = [
        _row(n_envs, name, rates, group.get(BASE))
        for n_envs, group in result["groups"].items()
        for name, rates in group.items()
    ]
    no_gpu = NO_GPU.format(load=result["load_average"], cores=result["machine"]["cores"])
    return SECTION.format(
        batch=result["batch_size"],
        ratio=result["decisions_per_update"],
        device="the CPU" if result["device"] == "CPU" else result["device"],
        caveat=no_gpu if result["device"] == "CPU" else "",
        k=result["k"],
        base=BASE,
        rows="\n".join(rows),
    )


def _row(n_envs: str, name: str, rates: dict[str, float], base: dict[str, float] | None) -> str:
    """One learner at one number of environments."""
    primitives = rates["primitives_per_second"]
    ratio = f"{primitives / base['primitives_per_second']:.2f}" if base else ""
    figures = (
        f"{rates['decisions_per_second']:,.0f}",
        f"{primitives:,.0f}",
        ratio,
        f"{rates['updates_alone_per_second']:,.1f}",
    )
    return f"| {n_envs} | {name} | {' | '.join(figures)} |"
