"""``macro-gym plan``: let the planner play a game."""

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
    """Let the planner play a game; an interrupted run goes on where it stopped.

    Args:
        game: The game: breakout, Breakout or ALE/Breakout-v5; one of stable-retro's, whose ROM was
            imported, as Airstriker-Genesis-v0 or MacroRetro/Airstriker-Genesis-v0.
        output: Folder for the episodes, one file each; what is there already is kept.
        steps: Steps (of 4 frames) to play in all, at least.
        episode_steps: Steps after which an episode is cut.
        trials: Changes of the plan tried every 4 steps: more play better and take longer.
        repeat_action_probability: That of sticky actions, such as 0.25.
        seed: Seed of the first episode; the others count up from it.
        skip_seeds: Seeds to leave out: those whose play crashes the emulator.
        workers: Episodes to plan at the same time, each on one core.
        state: For stable-retro: the savestate to start from, if not the usual one.
        scenario: For stable-retro: what is rewarded, if not the usual: a name or a .json file.
        buttons: For stable-retro: the combinations to play with, as NOOP B LEFT+B; all that the
            integration allows if omitted, which are often over a hundred. Fewer play better.
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
