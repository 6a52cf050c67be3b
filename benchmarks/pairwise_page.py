"""The section on PairwiseA2C's updates: their time relative to A2C's, and their memory."""

from typing import Any

SECTION = """\
## One PairwiseA2C update

{n_envs} environments, {n_steps} decisions from each, networks with two layers of 64 units,
{threads} thread: processor time as a multiple of SB3's A2C update. An update includes both the
exact meta-step, through the previous update, and the policy's step.

| update | times SB3's A2C |
|---|---|
{ratios}

There is a weight for every pair of decisions in an episode. Peak memory of a separate process that
takes two updates on one rollout of the given number of decisions, everything included:

| decisions | pairs | MiB |
|---|---|---|
{memory}
"""


def pairwise_section(result: dict[str, Any]) -> str:
    """Render the section from the result of `benchmarks.pairwise_update`."""
    ratios = [f"| {arm} | {ratio:.2f} |" for arm, ratio in result["ratios"].items()]
    memory = [
        f"| {int(length):,} | {int(length) * (int(length) + 1) // 2:,} | {nbytes / 2**20:,.0f} |"
        for length, nbytes in result["memory"].items()
    ]
    sizes = {name: result[name] for name in ("n_envs", "n_steps", "threads")}
    return SECTION.format(**sizes, ratios="\n".join(ratios), memory="\n".join(memory))
