"""What a learner needs to know of its environments: macros, rewards and frame skips."""

import gymnasium as gym
from stable_baselines3.common.vec_env import VecEnv

from macro_gym import MacroSet
from macro_gym.errors import FrameSkipError, MacroSetMismatchError


def macro_set_of(env: VecEnv) -> MacroSet | None:
    """The macro set of vectorised environments; None if they have none.

    Raises:
        MacroSetMismatchError: Their macro sets differ.
    """
    if not env.has_attr("macro_set"):
        return None
    first: MacroSet
    first, *others = env.get_attr("macro_set")
    for number, other in enumerate(others, 1):
        if other.hash != first.hash:
            raise MacroSetMismatchError(
                f"environment 0 of the vector has {_describe(first)}, and environment {number} has "
                f"{_describe(other)}, so that actions mean different things. Build all with the "
                "same macros."
            )
    return first


def pays_game_scores(env: VecEnv) -> bool:
    """Whether rewards are unclipped game scores, as in MacroALE and MacroRetro."""
    spec = env.get_attr("spec", indices=0)[0] if env.has_attr("spec") else None
    return spec is not None and spec.namespace in ("MacroALE", "MacroRetro")


def require_no_skip_outside(env: VecEnv) -> None:
    """Reject wrappers outside a macro environment that would repeat its decisions.

    Only environments in this process can be checked; for others, the buffer notices rewards that
    do not add up.

    Raises:
        FrameSkipError: A wrapper skips frames, as SB3's AtariWrapper does.
    """
    for wrapper in getattr(env.unwrapped, "envs", []):
        while isinstance(wrapper, gym.Wrapper) and wrapper.has_wrapper_attr("macro_set"):
            if "macro_set" in vars(wrapper):
                break
            if vars(wrapper).get("_skip", 1) != 1 or vars(wrapper).get("frame_skip", 1) != 1:
                raise FrameSkipError(
                    f"{type(wrapper).__name__} repeats every decision of a macro environment, "
                    "which skips frames itself. Take it off, as well as SB3's AtariWrapper or "
                    "make_atari_env that may have brought it."
                )
            wrapper = wrapper.env


def require_same_macros(trained: MacroSet | None, found: MacroSet | None) -> None:
    """Reject an environment whose action indices have other meanings than the model's.

    Raises:
        MacroSetMismatchError: The macro sets differ; the message names both.
    """
    if (trained and trained.hash) != (found and found.hash):
        raise MacroSetMismatchError(
            f"the model was trained with {_describe(trained)}, but the environment has "
            f"{_describe(found)}. Build the environment with macros=model.macro_set."
        )


def _describe(macro_set: MacroSet | None) -> str:
    """A macro set in a few words, for error messages."""
    if macro_set is None:
        return "no macro set"
    game = f" of {macro_set.provenance.game}" if macro_set.provenance.game else ""
    return f"{len(macro_set.macros)} macros{game} (hash {macro_set.hash[:12]})"
