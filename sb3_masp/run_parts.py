"""Builds a run's environments and its learner from its settings."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple, cast

import ale_py
import gymnasium as gym
import numpy as np
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import VecEnv

from macro_gym import MacroAction, MacroSet
from macro_gym.buttons import joint
from macro_gym.errors import MacroGymError
from macro_gym.retro_games import integration
from sb3_masp.environments import macro_set_of
from sb3_masp.features import BytesExtractor
from sb3_masp.macro_model import MacroModel
from sb3_masp.make_vec import make_macro_vec_env
from sb3_masp.masp import MASP
from sb3_masp.pairwise import PairwiseA2C, load_weights, problems
from sb3_masp.pairwise.weight_files import form_of
from sb3_masp.run_config import ALGORITHMS, RunError, TrainConfig
from sb3_masp.similarity import Similarity, Transfer, transferred_similarity
from sb3_masp.similarity.forms import is_file

MACRO_SET = "macro_set.json"

SMALLEST_IMAGE = 36
"""Pixels that each side must have for SB3's convolutions; smaller images are flattened."""

gym.register_envs(ale_py)  # for baselines on ALE's own ids
gym.register_envs(problems)


class Parts(NamedTuple):
    """How to make the run's environment, besides its id.

    Args:
        kwargs: Arguments of ``gym.make``.
        wrapper: Wrapper around it, if any.
    """

    kwargs: dict[str, Any]
    wrapper: Callable[[gym.Env[Any, Any]], gym.Env[Any, Any]] | None = None


def parts(config: TrainConfig) -> Parts:
    """How to give the run's macros to its environment.

    Raises:
        RunError: Settings of games are given for another environment, or an option that the
            environment does not accept.
        RemapError: A macro needs a primitive that the environment lacks.
    """
    macros = None if config.macros is None else _macros(config, config.macros)
    if config.env.startswith("Macro"):
        return Parts(
            config.env_kwargs if macros is None else config.env_kwargs | {"macros": macros}
        )
    if config.k is not None or config.obs_type is not None:
        raise RunError(
            f"--k and --obs-type are for games with macros, but the environment is {config.env}; "
            "macros for it come from a file: --macros FILE"
        )
    if macros is None:
        return Parts(config.env_kwargs)
    macro_set = macros if isinstance(macros, MacroSet) else MacroSet.load(macros)
    return Parts(dict(config.options), lambda env: MacroAction(env, macro_set))


def _macros(config: TrainConfig, path: Path) -> MacroSet | Path:
    """The requested macros, which may be a run's, without those to be dropped."""
    path = path / MACRO_SET if path.is_dir() else path
    if config.macros_unmapped == "error":
        return path
    names = _primitives(config)
    if names is None:
        return path
    macro_set = MacroSet.load(path)
    kept, dropped = split_macros(macro_set, names)
    if dropped:
        print(
            f"{len(dropped)} macros dropped, of primitives that are none here: {', '.join(dropped)}"
        )
    return kept


def _primitives(config: TrainConfig) -> Sequence[str] | None:
    """Names of the primitives that macros can consist of; None if the environment has no names."""
    kwargs: dict[str, Any] = dict(config.options)
    if config.env.startswith("MacroRetro/") and kwargs.get("buttons") is None:
        # Without macros, the environment would only have the primitives of the bank.
        allowed = integration(config.env).combinations(kwargs.get("scenario"))
        return joint(allowed, kwargs.get("players", 1))
    if config.env.startswith("Macro"):
        kwargs["k"] = 0
    with one_line(config), closing(gym.make(config.env, **kwargs)) as env:
        if not env.has_wrapper_attr("get_action_meanings"):
            return None
        names: Sequence[str] = env.get_wrapper_attr("get_action_meanings")()
        return names


@contextmanager
def one_line(config: TrainConfig) -> Iterator[None]:
    """Turn whatever making a run's environment raises into an error for its user.

    Raises:
        RunError: What was raised is neither of this package nor Gymnasium's or the system's.
    """
    try:
        yield
    except (MacroGymError, OSError, gym.error.Error):
        raise
    except Exception as error:  # modules and environments raise a dozen kinds
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if unknown is not None and unknown[1] in config.options:
            raise RunError(
                f"--options has {unknown[1]}, which {config.env} does not take; options are "
                "arguments of the environment. Is it misspelt?"
            ) from error
        raise RunError(
            f"{config.env} cannot be made with options {dict(config.options)}: "
            f"{type(error).__name__}: {error}"
        ) from error


def split_macros(macro_set: MacroSet, names: Sequence[str]) -> tuple[MacroSet, tuple[str, ...]]:
    """Return the macros that consist of some primitives, and the names of the others.

    Args:
        macro_set: The macros.
        names: Names of the primitives.
    """
    fits = [all(macro_set.primitives[p] in names for p in macro) for macro in macro_set.macros]
    kept = replace(
        macro_set,
        macros=tuple(compress(macro_set.macros, fits)),
        counts=tuple(compress(macro_set.counts, fits)),
    )
    of_macros = macro_set.names[len(macro_set.primitives) :]
    return kept, tuple(name for name, fit in zip(of_macros, fits, strict=True) if not fit)


def make_env(config: TrainConfig, n_envs: int | None = None) -> VecEnv:
    """Make the run's environments, with SB3's Monitor; raises as `parts` does.

    Several environments of a game are stepped in parallel, in other processes. So is even a single
    one of stable-retro: a process can run only one, and this process's is left for evaluating and
    filming.
    """
    n_envs = config.n_envs if n_envs is None else n_envs
    kwargs, wrapper = parts(config)
    retro = config.env.startswith("MacroRetro/")
    with one_line(config):
        if retro or (n_envs > 1 and config.env.startswith("MacroALE/")):
            return make_macro_vec_env(config.env, n_envs, config.seed, **kwargs)
        # SB3's annotation asks for a class, but its code accepts any function that wraps.
        return make_vec_env(
            config.env, n_envs, config.seed, env_kwargs=kwargs, wrapper_class=cast(Any, wrapper)
        )


def make_film_env(config: TrainConfig) -> gym.Env[Any, Any]:
    """Make one of the run's environments, whose ``render`` returns a picture per primitive step."""
    kwargs, wrapper = parts(config)
    with one_line(config):
        env: gym.Env[Any, Any] = gym.make(config.env, render_mode="rgb_array_list", **kwargs)
    return env if wrapper is None else wrapper(env)


def carried_similarity(config: TrainConfig, env: VecEnv) -> tuple[Similarity, Transfer] | None:
    """The run's similarity file, transferred to the environment's actions; None if there is none.

    Raises:
        RunError: A start is given as well.
        SimilarityError: It cannot be transferred.
    """
    file, macro_set = config.learner.similarity, macro_set_of(env)
    if file is None or macro_set is None or not is_file(file):
        return None
    if config.learner.similarity_start is not None:
        raise RunError(
            f"--similarity is the file {file}, which says where it starts; leave "
            "--similarity-start out, or name a form with --similarity and the file with it"
        )
    return transferred_similarity(file, macro_set, config.similarity_unmapped)


def image_sides(shape: tuple[int, ...]) -> list[int]:
    """Height and width of images: all but the smallest dimension, which SB3 takes for channels."""
    return sorted(shape)[1:]


def make_model(
    config: TrainConfig, env: VecEnv, similarity: Similarity | None = None
) -> MacroModel:
    """The run's learner, untrained.

    Args:
        config: Settings of the run.
        env: The run's environments.
        similarity: The result of `carried_similarity`, if it has been called.

    Raises:
        RunError: The environment's actions are not Discrete, or a similarity to be unfrozen has
            nothing to learn.
        SimilarityError: The similarity does not fit the actions.
        WeightsFileError: Weights from a file do not fit the observations.
    """
    if not isinstance(env.action_space, gym.spaces.Discrete):
        raise RunError(
            f"{config.env} has the action space {env.action_space}, but the learners need Discrete "
            "actions. Can it be wrapped so that each action is one of a few?"
        )
    policy_kwargs: dict[str, Any] = {}
    if config.net_arch is not None:
        policy_kwargs["net_arch"] = list(config.net_arch)
    space = env.observation_space
    policy = "MlpPolicy"
    if isinstance(space, gym.spaces.Dict):
        policy = "MultiInputPolicy"
    elif is_image_space(space) and min(image_sides(space.shape or ())) >= SMALLEST_IMAGE:
        policy = "CnnPolicy"
    elif space.dtype == np.uint8 and len(space.shape or ()) == 1:
        policy_kwargs["features_extractor_class"] = BytesExtractor
    learner_kwargs = config.learner_kwargs
    if similarity is None and (carried := carried_similarity(config, env)):
        similarity, _ = carried
    if similarity is not None:
        learner_kwargs["similarity"] = similarity
    weights = Path(learner_kwargs.get("weights", ""))
    if weights.is_file():
        learner_kwargs["weights"] = form_of(weights)
    model = ALGORITHMS[config.algorithm].learner(
        policy,
        env,
        policy_kwargs=policy_kwargs,
        seed=config.seed,
        device=config.device,
        **learner_kwargs,
    )
    if weights.is_file():
        load_weights(weights, into=cast(PairwiseA2C, model).weights)
    fixed = isinstance(model, MASP) and not model.similarity.is_learned
    if fixed and config.similarity_unfreeze_at is not None:
        raise RunError(
            "--similarity-unfreeze-at is for a similarity that has something to learn, and this "
            "one is fixed; say --similarity softmax --similarity-start FILE for one that starts "
            "there"
        )
    return model
