"""What a learner has to know of its environments: their macros, their rewards, their skips."""

import gymnasium as gym
from stable_baselines3.common.vec_env import VecEnv

from macro_gym import MacroSet
from macro_gym.errors import FrameSkipError, MacroSetMismatchError


def macro_set_of(env: VecEnv) -> MacroSet | None:
    """The macro set of a vector of environments; None if they have none.

    Raises:
        MacroSetMismatchError: They have different ones.
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
    """Whether rewards are a game's true scores, of any size: MacroALE and MacroRetro."""
    spec = env.get_attr("spec", indices=0)[0] if env.has_attr("spec") else None
    return spec is not None and spec.namespace in ("MacroALE", "MacroRetro")


def require_no_skip_outside(env: VecEnv) -> None:
    """Refuse wrappers outside a macro environment that would repeat its decisions.

    They can be seen only in this process; elsewhere the buffer notices rewards that do not add up.

    Raises:
        FrameSkipError: There is one; SB3's AtariWrapper brings it.
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
    """Refuse an environment whose action indices mean something else than a model's.

    Raises:
        MacroSetMismatchError: They do; the message names both.
    """
    if (trained and trained.hash) != (found and found.hash):
        raise MacroSetMismatchError(
            f"the model was trained with {_describe(trained)}, but the environment has "
            f"{_describe(found)}. Build the environment with macros=model.macro_set."
        )


def _describe(macro_set: MacroSet | None) -> str:
    """A macro set in a few words, for an error."""
    if macro_set is None:
        return "no macro set"
    game = f" of {macro_set.provenance.game}" if macro_set.provenance.game else ""
    return f"{len(macro_set.macros)} macros{game} (hash {macro_set.hash[:12]})"
