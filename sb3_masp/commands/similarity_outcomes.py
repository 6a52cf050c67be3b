"""``masp similarity outcomes``: measure Σ in the emulator, before any learning."""

from pathlib import Path
from typing import Any, Literal, cast

import gymnasium as gym
from gymnasium import spaces

from macro_gym.files import require_file
from sb3_masp.run_config import TrainConfig
from sb3_masp.run_parts import one_line, parts
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
    """Measure a similarity by trying every action from the same states of random play.

    Actions are similar if their outcomes are. Sticky actions are turned off for this.

    The file can be used as masp train ENV --similarity FILE, which keeps the similarity fixed, and
    as --similarity softmax --similarity-start FILE, which continues to learn it.

    Args:
        env: Environment id: a MacroALE game, or any environment that can be copied.
        output: File to write.
        k: Number of macros; by default 128 from the game's bank.
        macros: File of a macro set to use instead, or folder of a run whose macros to use.
        macros_unmapped: What to do with macros that need a primitive which the game lacks.
        states: Number of states; takes states times actions decisions.
        seed: Seed of the random play.
        temperature: Temperature of the softmax, in units of the mean distance.
        reward_weight: Weight of the reward in the distance.
        duration_weight: Weight of the duration in the distance.
    """
    require_file(output)
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
    """Make the environment; games get RAM observations, which are fast, and no sticky actions."""
    kwargs, wrapper = parts(config)
    if config.env.startswith("MacroALE"):
        kwargs = kwargs | {"obs_type": "ram", "repeat_action_probability": 0.0}
    with one_line(config):
        env: gym.Env[Any, Any] = gym.make(config.env, **kwargs)
    return env if wrapper is None else wrapper(env)


def _about(env: gym.Env[Any, Any], name: str, origin: str) -> SimilarityAbout:
    """Metadata of the similarity."""
    if env.has_wrapper_attr("macro_set"):
        return SimilarityAbout.of(env.get_wrapper_attr("macro_set"), env=name, origin=origin)
    names = tuple(map(str, range(int(cast(spaces.Discrete, env.action_space).n))))
    return SimilarityAbout(names, env=name, origin=origin)
