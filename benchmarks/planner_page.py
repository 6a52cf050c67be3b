"""The section on the planner in docs/banks.md, made from the result of `benchmarks.planner`."""

from collections.abc import Mapping
from statistics import mean, median
from typing import Any

from macro_gym.games import game_name

SECTION = """
## How well the planner plays

Measured by `python -m benchmarks.planner`: the first {steps} steps of each game, seeds {seeds};
the settings were chosen on other seeds. The *first version* tries 16 plans at every point, 15 of
them new. Scores are means over the seeds, with the processor seconds per episode in parentheses.
*per second*: score per processor second as a multiple of the first version's, where both score; its
median is {ratio:.1f}. With 4 times the trials, which takes {cost:.2f} times the first version's
time, the planner scores at least as much in {better} of the {n} games. The planner has since been
changed to end a trial that rejoins the best plan's path, which gives the same play in less time, so
these times are slightly too long.

{table}

{about}"""

FIRST, PRESENT, MORE = "first version", "planner", "planner, 4 times the trials"
ARMS = ("random held actions", FIRST, PRESENT, "planner, sticky actions", MORE)


def planner_section(result: Mapping[str, Any], about: str) -> str:
    """Return the section; ``about`` states the origin of the result."""
    games = list(dict.fromkeys(episode["game"] for episode in result["episodes"]))
    table = {game: {arm: _means(result["episodes"], game, arm) for arm in ARMS} for game in games}
    ratios = {game: _ratio(arms) for game, arms in table.items()}
    rows = [_row(game, table[game], ratios[game]) for game in games]
    header = ("game", *ARMS, "per second")
    lines = [header, ("---", *["---:"] * (len(header) - 1)), *rows]
    return SECTION.format(
        steps=", ".join(sorted({str(episode["steps"]) for episode in result["episodes"]})),
        seeds=", ".join(sorted({str(episode["seed"]) for episode in result["episodes"]})),
        ratio=median(ratio for ratio in ratios.values() if ratio is not None),
        cost=median(arms[MORE][1] / arms[FIRST][1] for arms in table.values()),
        better=sum(arms[MORE][0] >= arms[FIRST][0] for arms in table.values()),
        n=len(games),
        table="\n".join(f"| {' | '.join(cells)} |" for cells in lines),
        about=about,
    )


def _means(episodes: list[Mapping[str, Any]], game: str, arm: str) -> tuple[float, float]:
    """Mean score and mean processor seconds of an arm's episodes of a game."""
    chosen = [e for e in episodes if (e["game"], e["arm"]) == (game, arm)]
    return mean(e["score"] for e in chosen), mean(e["cpu_seconds"] for e in chosen)


def _ratio(arms: Mapping[str, tuple[float, float]]) -> float | None:
    """Score per second as a multiple of the first version's; None unless both score."""
    (score, seconds), (first_score, first_seconds) = arms[PRESENT], arms[FIRST]
    if score <= 0 or first_score <= 0:
        return None
    return (score / seconds) / (first_score / first_seconds)


def _row(
    game: str, arms: Mapping[str, tuple[float, float]], ratio: float | None
) -> tuple[str, ...]:
    """The cells of one game."""
    cells = (f"{arms[arm][0]:,.1f} ({arms[arm][1]:.1f})" for arm in ARMS)
    return game_name(game), *cells, "" if ratio is None else f"{ratio:.1f}"
