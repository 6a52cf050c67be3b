"""Train on Street Fighter II': Special Champion Edition, count the rounds won, and film it.

You have to provide the ROM: ``python -m stable_retro.import FOLDER``. Each emulator runs in its own
process; actions are button combinations and the handcrafted macros that macro-gym ships for this
game, or those of ``--macros``. The reward is the score as integrated or, with ``--reward health``,
the health that the enemy loses minus the health that Ryu loses. An episode ends when a match is
lost.

The same command resumes a stopped run; with other settings it is refused, unless ``--output`` is
another folder. ``--game`` trains on another game of stable-retro; rounds are counted if its
integration has counters for them.
"""

import json
import math
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro

from macro_gym.banks.street_fighter import GAME
from macro_gym.errors import EnvironmentSettingError, MacroGymError
from macro_gym.files import replacing
from macro_gym.retro_games import integration
from sb3_masp import run
from sb3_masp.commands.evaluate import film
from sb3_masp.evaluation import Evaluation, evaluate
from sb3_masp.macro_learner import MacroLearner
from sb3_masp.run_config import ALGORITHMS, AlgorithmName

HEALTH = Path(__file__).parent / "street_fighter_health.json"
"""The game's scenario with health as the reward."""
COUNTERS = ("matches_won", "enemy_matches_won")
"""Rounds won in the current match by the player and by the enemy; 0 when the next one begins."""
EPSILON = 0.02
"""Share of random decisions of a trained policy, judged or filmed."""
FILM_FRAMES = 3 * 60 * 60
"""Maximum length of a video: three minutes."""


@dataclass(frozen=True)
class Settings:
    """Settings of training and evaluation.

    Args:
        game: Game to train on.
        state: Savestate to start from; by default the integration's, Ryu against Guile.
        reward: Score, or difference in health.
        algorithm: Learner.
        k: Number of macros; by default all of the game's, up to 128.
        macros: File of a macro set to use instead.
        frames: Emulator frames to train for.
        n_envs: Emulators, each in its own process.
        seeds: Seeds, with one training run each.
        episodes: Episodes over which each policy is judged.
        output: Folder for the runs, the videos and the results.
        video: Film an episode of each trained policy, up to three minutes; needs macro-gym[video].
        smoke: Run a tiny size in separate folders, only to check that the script works.
    """

    game: str = GAME
    state: str | None = None
    reward: Literal["score", "health"] = "score"
    algorithm: AlgorithmName = "masp-dqn"
    k: int | None = None
    macros: Path | None = None
    frames: int = 20_000_000
    n_envs: int = 8
    seeds: tuple[int, ...] = (0,)
    episodes: int = 50
    output: Path = Path("runs/street_fighter")
    video: bool = True
    smoke: bool = False

    @property
    def folder(self) -> Path:
        """Folder of the runs; the results are beside it."""
        return self.output / f"{self.algorithm}-{self.reward}{'-smoke' * self.smoke}"


@dataclass(frozen=True, slots=True)
class Rounds:
    """Rounds won and lost in an episode. Draws and unfinished rounds are not counted.

    Args:
        won: Rounds won by the player.
        lost: Rounds lost by the player.
    """

    won: int
    lost: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Evaluation of a policy.

    Args:
        score: Returns of the episodes.
        rounds: Rounds of each episode; empty if the game has no counters for them.
    """

    score: Evaluation
    rounds: tuple[Rounds, ...]

    @property
    def win_rate(self) -> float:
        """Share of the decided rounds that were won; NaN if there are none."""
        return _win_rate(self.rounds)

    @property
    def interval(self) -> tuple[float, float]:
        """95% percentile bootstrap interval of the win rate, over episodes; NaN if the rate is."""
        if math.isnan(self.win_rate):
            return math.nan, math.nan
        rng = np.random.default_rng(0)
        picks = rng.integers(len(self.rounds), size=(2_000, len(self.rounds)))
        rates = [_win_rate([self.rounds[i] for i in pick]) for pick in picks]
        low, high = np.nanquantile(rates, [0.025, 0.975])
        return float(low), float(high)


def count_rounds(infos: Sequence[Mapping[str, Any]]) -> Rounds:
    """Count the rounds won and lost, from the infos of an episode in order.

    The counters rise when a round is decided and fall to 0 when a match begins. Seconds lie in
    between, so no decision skips either.
    """
    values = np.array([[int(info[name]) for name in COUNTERS] for info in infos])
    won, lost = (np.diff(values, axis=0) > 0).sum(axis=0).tolist()
    return Rounds(won, lost)


def configs(settings: Settings) -> list[run.TrainConfig]:
    """Configurations of the training runs, one per seed."""
    options: dict[str, Any] = {}
    if settings.state is not None:
        options["state"] = settings.state
    if settings.reward == "health":
        options["scenario"] = str(HEALTH)
    learner = run.LearnerConfig(
        buffer_size=300_000,
        learning_starts=20_000,
        target_update_interval=2_000,
        exploration_fraction=0.1,
        exploration_final_eps=0.02,
        double_q=True,
        # Health is in bars, within [-1, 1] already; in a score, all hits should count alike.
        clip_rewards=settings.reward == "score",
    )
    if settings.algorithm in ("rainbow", "masp-rainbow"):  # noise explores, double Q is built in
        learner = replace(
            learner, exploration_fraction=None, exploration_final_eps=None, double_q=None
        )
    config = run.TrainConfig(
        env=f"MacroRetro/{settings.game}",
        algorithm=settings.algorithm,
        frames=settings.frames,
        k=settings.k,
        macros=settings.macros,
        options=options,
        n_envs=settings.n_envs,
        learner=learner,
    )
    if settings.smoke:
        config = replace(
            config,
            options=options | {"screen_size": 42, "max_num_frames_per_episode": 500},
            learner=replace(config.learner, buffer_size=500, learning_starts=50),
        )
    return [
        replace(config, seed=seed, run=settings.folder / f"seed{seed}") for seed in settings.seeds
    ]


def require_same(config: run.TrainConfig) -> None:
    """Refuse to resume a run that was started with other settings.

    Raises:
        RunError: The settings differ; the message says how.
    """
    folder = config.folder
    if not (folder / "config.json").exists():
        return
    before, now = (
        asdict(of) | asdict(of.learner) | {"learner": None, "files": files}
        for of, files in (
            (run.read_config(folder), run.read_digests(folder)),
            (config, run.digests(config)),
        )
    )
    differ = [
        f"{name} was {before[name]} and is {now[name]}" for name in now if before[name] != now[name]
    ]
    if differ:
        raise run.RunError(
            f"{folder} was started with other settings: {'; '.join(differ)}. Give the same ones "
            "to resume it, name another --output, or remove that folder"
        )


def train(config: run.TrainConfig) -> None:
    """Train, resume training, or keep an already trained model."""
    if (config.folder / "model.zip").exists():
        return
    if (config.folder / "config.json").exists():
        run.resume(config.folder)
    else:
        run.train(config)


def judge(
    model: MacroLearner, config: run.TrainConfig, episodes: int, epsilon: float, counts: bool
) -> Verdict:
    """Evaluate an ε-greedy policy, and count rounds if the game has counters for them."""
    env = run.make_env(config)
    model.set_env(env)
    infos: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    rounds: list[Rounds] = []

    def note(number: int, info: dict[str, Any], done: bool) -> None:
        if counts:
            infos[number].append({name: info[name] for name in COUNTERS})
            if done:
                rounds.append(count_rounds(infos.pop(number)))

    seed = 1_000 + config.seed
    score = evaluate(model, env, episodes, epsilon, seed, progress_bar=True, each=note)
    env.close()
    return Verdict(score, tuple(rounds))


def main(settings: Settings) -> None:
    """Train, evaluate each policy and a random one, film it, and write the results."""
    if settings.smoke:
        settings = replace(settings, frames=1_500, n_envs=2, episodes=2)
    known = integration(settings.game)
    if settings.reward == "health" and known.game != GAME:
        raise EnvironmentSettingError(
            f"--reward health is by a scenario of {GAME}, but the game is {known.game}; write one "
            f"like {HEALTH.name} for it"
        )
    known.require_rom()
    counts = set(COUNTERS) <= set(known.variables)
    results: dict[str, Any] = {}
    runs = configs(settings)
    for config in runs:
        require_same(config)
    for config in runs:
        train(config)
        model = ALGORITHMS[config.algorithm].learner.load(
            config.folder / "model.zip", device=config.device
        )
        for name, epsilon in (("trained", EPSILON), ("random", 1.0)):
            verdict = judge(model, config, settings.episodes, epsilon, counts)
            results[f"seed {config.seed}, {name}"] = asdict(verdict)
            print(f"seed {config.seed}, {name:<8} {statement(verdict)}")
        if settings.video:
            limit = min(config.options.get("max_num_frames_per_episode", FILM_FRAMES), FILM_FRAMES)
            options = config.options | {"max_num_frames_per_episode": limit}
            film(replace(config, options=options), model, config.folder / "video", EPSILON, 2_000)
    with replacing(settings.folder.with_name(f"{settings.folder.name}.json")) as file:
        file.write((json.dumps(results, indent=1) + "\n").encode())
    print(f"Runs, videos and every score: {settings.output}/")


def statement(verdict: Verdict) -> str:
    """Summarise a verdict in one line."""
    if not verdict.rounds:
        return f"score {verdict.score}"
    won, lost = (sum(getattr(r, name) for r in verdict.rounds) for name in ("won", "lost"))
    if won + lost == 0:
        return f"no round was decided; score {verdict.score}"
    low, high = verdict.interval
    return (
        f"won {won} of {won + lost} rounds, {verdict.win_rate:.1%} [{low:.1%}, {high:.1%}]; "
        f"score {verdict.score}"
    )


def _win_rate(rounds: Sequence[Rounds]) -> float:
    """Share of decided rounds that were won; NaN if there are none."""
    won, lost = sum(r.won for r in rounds), sum(r.lost for r in rounds)
    return won / (won + lost) if won + lost else math.nan


if __name__ == "__main__":
    try:
        main(tyro.cli(Settings, description=__doc__))
    except MacroGymError as error:
        sys.exit(f"street_fighter: {error}")
