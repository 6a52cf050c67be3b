"""The arms of arXiv 2102.04999: its two methods and their baselines.

TVT, for which the paper uses its authors' code, is not included.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from examples.credit.runs import Arm

META = {"meta_learning_rate": (1e-4, 1e-3)}

ARMS: dict[str, Arm] = {
    "A2C": Arm(
        "A2C with a single λ.",
        {"advantage": "pwtd", "weights": "geometric"},
        {"gae_lambda": (0.9, 0.99)},
    ),
    "A2C-RR": Arm(
        "Rewards redistributed by a recurrent return predictor, with a low discount.",
        {"advantage": "pwr", "weights": "geometric", "redistribute_rewards": True},
        {"gamma": (0.5, 0.92)},
    ),
    "Meta-λ(s)": Arm(
        "TD errors weighted by a meta-learned λ(s).",
        {"advantage": "pwtd", "weights": "state_lambda"},
        {"meta_learning_rate": (1e-3, 1e-2)},
    ),
    "RGM": Arm(
        "Rewards weighted by one meta-learned set of weights, whichever decision gets credit.",
        {"advantage": "pwr", "weights": "sequence"},
        META,
    ),
    "Meta-PWTD": Arm(
        "TD errors weighted by meta-learned pairwise weights.",
        {"advantage": "pwtd", "weights": "embedding"},
        META,
    ),
    "Meta-PWR": Arm(
        "Rewards weighted by meta-learned pairwise weights.",
        {"advantage": "pwr", "weights": "embedding"},
        META,
    ),
}
"""By the paper's names, with values of hyper-parameters to choose from, except learning rates."""


def of_names(arms: Mapping[str, Arm], names: Sequence[str], **values: Any) -> dict[str, Arm]:
    """Select arms by name, and add values of hyper-parameters to choose from."""
    return {name: arms[name].among(**values) for name in names}
