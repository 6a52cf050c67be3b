"""Settings that PairwiseA2C adds to A2C's, and their validation."""

import math
from collections.abc import Mapping
from typing import Any

from sb3_masp.macro_model import require_setting
from sb3_masp.pairwise.weights import WEIGHTS, CreditWeights

ADVANTAGES = ("pwtd", "pwr")

OURS = (
    "advantage",
    "weights",
    "weights_frozen",
    "meta_learning_rate",
    "inner_steps",
    "inner_resets",
    "redistribute_rewards",
    "clip_rewards",
)
"""Arguments that A2C does not have."""


def require_settings(settings: Mapping[str, Any]) -> None:
    """Reject settings, by the names in `OURS`, that are out of range.

    Raises:
        LearnerSettingError: A setting is out of range.
    """
    advantage, form = settings["advantage"], settings["weights"]
    require_setting("advantage", advantage, advantage in ADVANTAGES, "'pwtd' or 'pwr'")
    known = form is None or isinstance(form, CreditWeights) or form in WEIGHTS
    require_setting("weights", form, known, f"CreditWeights or one of {', '.join(WEIGHTS)}")
    rate = settings["meta_learning_rate"]
    fits = callable(rate) or 0 <= rate < math.inf
    require_setting("meta_learning_rate", rate, fits, "at least 0, and finite, or a schedule")
    steps = settings["inner_steps"]
    whole = isinstance(steps, int) and steps >= 1
    require_setting("inner_steps", steps, whole, "1, 2, 3, ...")
    anew, learned = settings["inner_resets"], not settings["weights_frozen"]
    require_setting("inner_resets", anew, not anew or learned, "False with weights_frozen")
    moves, of_rewards = settings["redistribute_rewards"], advantage == "pwr"
    require_setting("redistribute_rewards", moves, not moves or of_rewards, "False with 'pwtd'")
