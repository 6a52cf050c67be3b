"""How arms compare: interquartile means with bootstrap intervals (rliable), as table and plot."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from macro_gym.errors import MissingDependencyError
from macro_gym.files import replacing
from macro_gym.human_scores import human_normalised

MEASURES = ("final_score", "area_under_curve")
OVERALL = "all, human-normalised"
RESAMPLES = 2_000


@dataclass(frozen=True)
class Interval:
    """An arm's interquartile mean over runs.

    Args:
        game: Id of the environment, or `OVERALL`.
        arm: Name of the arm.
        measure: Column of the table.
        runs: Number of seeds.
        iqm: Mean of the middle half of the scores.
        low: Lower end of the 95% interval.
        high: Upper end of the 95% interval.
    """

    game: str
    arm: str
    measure: str
    runs: int
    iqm: float
    low: float
    high: float


def intervals(rows: Sequence[Mapping[str, Any]]) -> list[Interval]:
    """Intervals of every arm: for each game and, if all can be normalised, over all games.

    Games are compared on a scale where random play is 0 and a human is 1, which needs tabulated
    scores of both. The bootstrap is then stratified by game, and of each arm, only the seeds that
    finished in every game count. Draws are seeded: the same rows give the same intervals.

    Args:
        rows: Rows of the sweep's table.

    Raises:
        MissingDependencyError: rliable is not installed.
    """
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    scores = {
        (row["game"], row["arm"], measure, row["seed"]): row[measure]
        for row in rows
        for measure in MEASURES
        if row[measure] is not None
    }
    games = list(dict.fromkeys(row["game"] for row in rows))
    seeds = list(dict.fromkeys(row["seed"] for row in rows))
    groups = [(game, [game]) for game in games]
    if len(games) > 1 and all(_scale(game, 0.0) is not None for game in games):
        groups.append((OVERALL, games))
    asked = [(*group, arm, measure) for group in groups for arm in arms for measure in MEASURES]
    found = []
    for name, members, arm, measure in tqdm(asked, desc="intervals", delay=2, leave=False):
        table = [[scores.get((game, arm, measure, seed)) for game in members] for seed in seeds]
        whole: list[list[Any]] = [line for line in table if None not in line]
        if name == OVERALL:
            whole = [[_scale(*pair) for pair in zip(members, line, strict=True)] for line in whole]
        if whole:
            found.append(Interval(name, arm, measure, len(whole), *iqm(np.array(whole, float))))
    return found


def iqm(scores: NDArray[np.float64], seed: int = 0) -> tuple[float, float, float]:
    """Interquartile mean, and the ends of its 95% interval by stratified bootstrap.

    Args:
        scores: Shape ``(runs, games)``; runs are resampled within each game.
        seed: Seed of the draws.

    Raises:
        MissingDependencyError: rliable is not installed.
    """
    try:
        from rliable.library import get_interval_estimates
        from rliable.metrics import aggregate_iqm
    except ImportError as error:
        raise MissingDependencyError("summaries need: pip install 'macro-gym[plots]'") from error
    # rliable draws from NumPy's global generator, whatever random_state it is given.
    with _numpy_seeded(seed):
        points, ends = get_interval_estimates({"arm": scores}, aggregate_iqm, reps=RESAMPLES)
    low, high = np.ravel(ends["arm"])
    return float(points["arm"]), float(low), float(high)


def table(found: Sequence[Interval], measure: str = "final_score") -> str:
    """Intervals as text, one line per arm."""
    width = max([len("arm"), *(len(interval.arm) for interval in found)])
    lines = []
    for game in dict.fromkeys(interval.game for interval in found):
        lines.append(f"\n{game}: {measure.replace('_', ' ')}, interquartile mean over runs")
        lines.append(f"{'arm':<{width}}  runs        IQM  95% interval")
        lines += [
            f"{x.arm:<{width}}  {x.runs:>4}  {x.iqm:>9.4g}  [{x.low:.4g}, {x.high:.4g}]"
            for x in found
            if (x.game, x.measure) == (game, measure)
        ]
    return "\n".join(lines).lstrip("\n")


def write_intervals(path: Path, found: Sequence[Interval], last_share: float) -> None:
    """Write every interval as JSON, with explanations."""
    content = {
        "final_score": f"mean over training episodes that ended in the last {last_share:.0%} of "
        "the frames",
        "area_under_curve": "mean over frames of the scores of training episodes",
        "interval": f"95%, percentiles of {RESAMPLES} stratified bootstrap samples of runs",
        "intervals": [asdict(interval) for interval in found],
    }
    with replacing(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())


def draw_intervals(path: Path, found: Sequence[Interval]) -> None:
    """Draw the final scores of arms below each other, one panel per game.

    Args:
        path: Image to write; its suffix sets the format.
        found: The intervals.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("plots need: pip install 'macro-gym[plots]'") from error
    shown = [interval for interval in found if interval.measure == "final_score"]
    games = list(dict.fromkeys(interval.game for interval in shown))
    arms = list(dict.fromkeys(interval.arm for interval in shown))
    figure = Figure(figsize=(3.5 + 3.5 * len(games), 1.2 + 0.35 * len(arms)), layout="constrained")
    panels = figure.subplots(1, len(games), sharey=True, squeeze=False)[0]
    for game, axes in zip(games, panels, strict=True):
        for interval in (x for x in shown if x.game == game):
            line = arms.index(interval.arm)
            axes.hlines(line, interval.low, interval.high, f"C{line}", linewidth=6, alpha=0.35)
            axes.plot(interval.iqm, line, "o", color=f"C{line}")
        axes.set_yticks(range(len(arms)), arms)
        axes.set(title=game, xlabel="final score: IQM, 95% interval")
        axes.title.set_fontsize(10)
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_ylim(len(arms) - 0.5, -0.5)
    with replacing(path) as file:
        figure.savefig(file, dpi=130, format=path.suffix[1:])


def _scale(game: str, score: float) -> float | None:
    """A score with random play at 0 and a human at 1; None if these are not tabulated.

    Example:
        >>> _scale("MacroALE/Breakout-v5", 30.5), _scale("CartPole-v1", 200.0)
        (1.0, None)
    """
    namespace, _, name = game.rpartition("/")
    if namespace not in ("MacroALE", "ALE"):
        return None
    words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    return human_normalised(words.strip("_").rpartition("-")[0], score)


@contextmanager
def _numpy_seeded(seed: int) -> Iterator[None]:
    """Seed NumPy's global generator, and restore it afterwards."""
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)
