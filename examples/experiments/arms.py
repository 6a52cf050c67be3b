"""Arms of the experiments, each with the strengths of the penalty that it chooses from."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch as th
from stable_baselines3.common.utils import LinearSchedule

from sb3_masp.similarity_learning import AuxiliaryHead

ETAS = ("0.1", "0.3", "1", "3", "annealed")
"""Strengths of the penalty; "annealed" falls linearly from 3 to 0.3 over the run."""

DECAYS = ("0.01", "0.1", "1", "10")
"""Strengths of AdamW's weight decay."""


@dataclass(frozen=True)
class Arm:
    """An arm of an experiment.

    Args:
        about: Description for readers.
        arguments: Arguments of `MASPDQN`, in addition to the experiment's own.
        strengths: Strengths to choose from, on seeds that are not reported.
        has_macros: Whether its environment has the macros.
        decays: Whether its strength is a weight decay rather than η.
        runs_of: The arm whose runs it shares, if it is that arm at a single strength.
    """

    about: str
    arguments: dict[str, Any] = field(default_factory=dict)
    strengths: tuple[str, ...] = ETAS
    has_macros: bool = True
    decays: bool = False
    runs_of: str = ""

    def learner_arguments(self, strength: str) -> dict[str, Any]:
        """Arguments of `MASPDQN` at one of the strengths."""
        if self.decays:
            optimizer = {
                "optimizer_class": th.optim.AdamW,
                "optimizer_kwargs": {"weight_decay": float(strength)},
            }
            return self.arguments | {"policy_kwargs": optimizer}
        return self.arguments | {"eta": eta(strength)}


def eta(strength: str) -> float | LinearSchedule:
    """The η of a strength; 0 if it is empty."""
    if strength == "annealed":
        return LinearSchedule(3.0, 0.3, end_fraction=1.0)
    return float(strength or 0)


NONE = ("",)
OVERLAP_START = {"similarity_start": "overlap"}
WITHOUT = {"eta": 0.0, "similarity": "uniform"}

STATE_ORACLE = "oracle, by state"

ARMS: dict[str, Arm] = {
    "primitives": Arm("Primitives only (DQN).", WITHOUT, NONE, has_macros=False),
    "macros": Arm("Primitives and macros, no penalty.", WITHOUT, NONE),
    "weight decay": Arm("The same with weight decay.", WITHOUT, DECAYS, decays=True),
    "uniform": Arm("Uniform Σ: shrinkage of advantages.", {"similarity": "uniform"}),
    "overlap": Arm("Handcrafted Σ: overlap of primitives.", {"similarity": "overlap"}),
    "permuted": Arm("The overlap Σ with its actions permuted.", {"similarity": "permuted"}),
    "meta": Arm("Dense Σ, meta-learned from uniform."),
    "meta, from overlap": Arm("Dense Σ, meta-learned from overlap.", OVERLAP_START),
    "meta, conditioned": Arm(
        "Dense Σ, meta-learned from uniform; Q is conditioned on it, as in the paper.",
        {"embedding_dim": 32},
    ),
    "kernel": Arm("Kernel Σ, meta-learned from uniform.", {"similarity": "kernel"}),
    "kernel, from overlap": Arm(
        "Kernel Σ, meta-learned from overlap.", {"similarity": "kernel"} | OVERLAP_START
    ),
    "auxiliary": Arm("Σ from an auxiliary head.", {"similarity_learning": "auxiliary"}),
    "auxiliary, prior": Arm(
        "Σ from an auxiliary head with overlap as its prior.",
        {"similarity_learning": AuxiliaryHead(prior=0.5)},
    ),
    "meta, by state": Arm(
        "State-dependent Σ(s), meta-learned from uniform.", {"similarity": "state"}
    ),
    "oracle": Arm("Σ from distances between true values, which are unknown in practice."),
    STATE_ORACLE: Arm("Σ(s) from distances between true values in each state."),
}


def at_eta(eta: str) -> dict[str, Arm]:
    """The arms by name, with the same η for every penalty instead of several to choose from."""
    return {
        name: replace(arm, strengths=(eta,)) if arm.strengths == ETAS else arm
        for name, arm in ARMS.items()
    }


ORACLES = tuple(arm for arm in ARMS if arm.startswith("oracle"))
"""The arms that need true values."""

LEARNED = tuple(arm for arm in ARMS if arm.startswith(("meta", "kernel", "auxiliary")))
"""The arms that learn Σ."""
