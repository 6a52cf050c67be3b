"""make_macro_vec_env: many macro environments for SB3 in one call."""

from typing import Any

import gymnasium as gym
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv, VecMonitor

from macro_gym.errors import UnknownGameError
from macro_gym.games import did_you_mean, find_game, game_name
from macro_gym.registration import atari_games
from macro_gym.retro_games import retro_games
from sb3_masp.vec_env import GymnasiumVecEnv


def make_macro_vec_env(
    game: str, n_envs: int = 1, seed: int | None = None, *, monitor: bool = True, **kwargs: Any
) -> VecEnv:
    """Make ``n_envs`` environments of a game with macros, for SB3's learners and ours.

    `macro_gym.vector.MacroVectorEnv` steps them in parallel, whereas SB3's ``make_vec_env`` of the
    same id steps them one after the other; learners see the same.

    Args:
        game: ``"Breakout"``, ``"breakout"``, ``"ALE/Breakout-v5"`` or ``"MacroALE/Breakout-v5"``;
            for stable-retro ``"Airstriker-Genesis"`` or ``"MacroRetro/Airstriker-Genesis-v0"``.
        n_envs: Number of environments.
        seed: Seed of the first; the others get the following ones. A learner's seed overrides it.
        monitor: Report returns and lengths (in decisions) of episodes, as SB3's ``Monitor`` does.
        kwargs: Arguments of ``gym.make_vec`` for the game: ``k``, ``macros``, ``obs_type``,
            ``num_workers``, ...

    Raises:
        UnknownGameError: There is no such game.

    Example:
        >>> env = make_macro_vec_env("breakout", n_envs=3, k=8, obs_type="ram")
        >>> env.reset().shape, env.action_space
        ((3, 128), Discrete(12))
        >>> env.close()
    """
    id = _id(game)
    if kwargs.get("vectorization_mode") in (None, "vector_entry_point"):
        kwargs = {"autoreset_mode": AutoresetMode.SAME_STEP} | kwargs
    envs = gym.make_vec(id, num_envs=n_envs, **kwargs)
    env: VecEnv = GymnasiumVecEnv(envs)
    if seed is not None:
        env.seed(seed)
    return VecMonitor(env) if monitor else env


def _id(game: str) -> str:
    """The id of a game's macro environment."""
    atari, retro = atari_games(), retro_games()
    if rom := find_game(game, atari):
        return f"MacroALE/{game_name(rom)}-v5"
    if rom := find_game(game, retro):
        return f"MacroRetro/{rom}"
    raise UnknownGameError(f"there is no game {game!r}.{did_you_mean(game, atari + retro)}")
