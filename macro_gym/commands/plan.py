"""``macro-gym plan``: have the planner play a game."""

from pathlib import Path

from macro_gym.demonstrations import Demonstration
from macro_gym.errors import EnvironmentSettingError
from macro_gym.games import find_game
from macro_gym.registration import atari_games


def plan(
    game: str,
    /,
    output: Path,
    steps: int = 20_000,
    episode_steps: int = 4000,
    trials: int = 4,
    repeat_action_probability: float = 0.0,
    seed: int = 0,
    skip_seeds: tuple[int, ...] = (),
    workers: int = 1,
    state: str | None = None,
    scenario: str | None = None,
    buttons: tuple[str, ...] = (),
) -> None:
    """Have the planner play a game; an interrupted run resumes where it stopped.

    Args:
        game: The game: breakout, Breakout or ALE/Breakout-v5; or a stable-retro game whose ROM was
            imported, such as Airstriker-Genesis-v0 or MacroRetro/Airstriker-Genesis-v0.
        output: Folder for the episodes, one file each; existing files are kept.
        steps: Minimum number of steps (of 4 frames) to play in total.
        episode_steps: Steps after which an episode is cut.
        trials: Changes of the plan tried every 4 steps: more give better play but take longer.
        repeat_action_probability: Probability of sticky actions, such as 0.25.
        seed: Seed of the first episode; later ones count up from it.
        skip_seeds: Seeds to skip: those whose play crashes the emulator.
        workers: Episodes to plan in parallel, each on one core.
        state: For stable-retro: the savestate to start from, if not the default.
        scenario: For stable-retro: the scenario that defines the rewards, if not the default: a
            name or a .json file.
        buttons: For stable-retro: the combinations to play with, such as NOOP B LEFT+B; by default
            all that the integration allows, often over a hundred. Fewer work better.
    """
    from macro_gym.demonstrations.planner import PlannerSettings, planned_game
    from macro_gym.demonstrations.retro_sandbox import RetroGame
    from macro_gym.play import plan_play

    settings = PlannerSettings(
        trials=trials,
        rescue_trials=10 * trials,
        steps=episode_steps,
        repeat_action_probability=repeat_action_probability,
    )
    chosen = state is not None or scenario is not None or bool(buttons)
    if chosen and find_game(game, atari_games()):
        raise EnvironmentSettingError(
            f"--state, --scenario and --buttons are for games of stable-retro, but {game} is one "
            "of ale-py's; leave them out"
        )
    play = plan_play(
        RetroGame(game, state, scenario, buttons or None) if chosen else planned_game(game),
        output,
        steps,
        settings=settings,
        seed=seed,
        skip_seeds=skip_seeds,
        workers=workers,
    )
    for path in play:
        demonstration = Demonstration.load(path)
        print(f"{path}  {len(demonstration.actions)} steps  score {demonstration.score:g}")
