"""``masp similarity outcomes``: Σ measured in the emulator, before any learning."""

from pathlib import Path
from typing import Any, Literal, cast

import gymnasium as gym
from gymnasium import spaces

from sb3_masp.run_config import TrainConfig
from sb3_masp.run_parts import parts
from sb3_masp.similarity import SimilarityAbout, save_similarity
from sb3_masp.similarity.outcomes import outcome_similarity


def outcomes(
    env: str,
    /,
    output: Path = Path("outcomes.safetensors"),
    k: int | None = None,
    macros: Path | None = None,
    macros_unmapped: Literal["error", "drop"] = "error",
    states: int = 64,
    seed: int = 0,
    temperature: float = 0.1,
    reward_weight: float = 0.0,
    duration_weight: float = 0.0,
) -> None:
    """Measure a similarity: every action is tried from the same states of random play.

    Similar are those that lead to the same.

    The file serves as masp train ENV --similarity FILE, which keeps it as it is, and as
    --similarity softmax --similarity-start FILE, which learns on from there. Sticky actions are
    off for this.

    Args:
        env: Id of the environment: a MacroALE game, or any that can be copied.
        output: The file to write.
        k: Macros; by default 128 of the game's bank.
        macros: File of a macro set to use instead, or the folder of a run, for its macros.
        macros_unmapped: What to do with macros of which the game lacks a primitive.
        states: From how many states; it takes states times actions decisions.
        seed: Of the play.
        temperature: Of the softmax, in mean distances.
        reward_weight: Of the reward's part of the distance.
        duration_weight: Of the duration's part.
    """
    made = _made(TrainConfig(env, k=k, macros=macros, macros_unmapped=macros_unmapped))
    similarity = outcome_similarity(
        made,
        states,
        seed=seed,
        temperature=temperature,
        reward_weight=reward_weight,
        duration_weight=duration_weight,
        progress_bar=True,
    )
    origin = (
        f"outcomes of each action from {states} states of random play, seed {seed}; temperature "
        f"{temperature:g}, weight of rewards {reward_weight:g}, of durations {duration_weight:g}"
    )
    save_similarity(output, similarity, _about(made, env, origin))
    print(f"{output}: {similarity.n_actions} actions of {env}, {origin}")


def _made(config: TrainConfig) -> gym.Env[Any, Any]:
    """The environment; of a game, what can be tried fast."""
    kwargs, wrapper = parts(config)
    if config.env.startswith("MacroALE"):
        kwargs = kwargs | {"obs_type": "ram", "repeat_action_probability": 0.0}
    env: gym.Env[Any, Any] = gym.make(config.env, **kwargs)
    return env if wrapper is None else wrapper(env)


def _about(env: gym.Env[Any, Any], name: str, origin: str) -> SimilarityAbout:
    """What is to be said of the similarity."""
    if env.has_wrapper_attr("macro_set"):
        return SimilarityAbout.of(env.get_wrapper_attr("macro_set"), env=name, origin=origin)
    names = tuple(map(str, range(int(cast(spaces.Discrete, env.action_space).n))))
    return SimilarityAbout(names, env=name, origin=origin)
