"""Text and figures on whether a learned Σ beats the fixed ones on small problems."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from examples.experiments.arm_tables import clear_headroom, complete_arms
from examples.experiments.arms import LEARNED, ORACLES, STATE_ORACLE
from examples.experiments.comparison import Interval, difference, headroom_share, interval
from examples.experiments.figures import Panels, draw_arms
from examples.experiments.problems import PROBLEMS
from examples.experiments.rows import Cell, Rows
from examples.experiments.table import Values

CONTROLS = ("uniform", "overlap")
GOAL_AT = (64, 256)
"""Numbers of macros at which a learned Σ has to beat both controls."""

DIFFERENCES = "images/small_problems_differences.png"
HEADROOM = "images/small_problems_headroom.png"
LABELS = {
    DIFFERENCES: "Difference of interquartile means from fixed Σ, 95% interval",
    HEADROOM: "Share of the oracle's headroom, 95% interval",
}
AT = {DIFFERENCES: (0,), HEADROOM: (0, 1)}
"""Positions of vertical reference lines in each figure."""

GOAL = f"""\
The goal is a learned Σ (blue in the figures) that beats the uniform and the overlap Σ, each at its
own best strength, with the intervals of both differences clear of zero, at k = {GOAL_AT[0]} and at
k = {GOAL_AT[1]}. Intervals are not corrected for there being {len(LEARNED)} learned arms.
"""


def cells_at(k: int, unit: str) -> list[Cell]:
    """The cells of all problems with half of the macros mined."""
    return [Cell(problem, k, 0.5, unit) for problem in PROBLEMS]


def differences(scores: Mapping[str, Values], arm: str) -> tuple[Interval, ...]:
    """Differences of an arm from each of the controls."""
    return tuple(interval(difference, scores[arm], scores[control]) for control in CONTROLS)


def goal(rows: Rows, unit: str = "decision") -> str:
    """Describe whether the goal is met.

    Args:
        rows: The table.
        unit: Unit in which updates are counted.
    """
    scores = {k: complete_arms(rows, cells_at(k, unit)) for k in GOAL_AT}
    ahead = {k: _ahead(of_k) for k, of_k in scores.items()}
    judged = [f"- k = {k}: {_of_k(scores[k], ahead[k])}\n" for k in GOAL_AT]
    return "".join(
        [f"With updates counted in {unit}s:\n\n", *judged, "\n", _verdict(scores, ahead)]
    )


def _ahead(scores: Mapping[str, Values]) -> list[str]:
    """The learned arms that beat both controls by differences clear of zero."""
    if not set(CONTROLS) <= set(scores):
        return []
    learned = [arm for arm in LEARNED if arm in scores]
    return [arm for arm in learned if min(x.low for x in differences(scores, arm)) > 0]


def _is_known(scores: Mapping[str, Values]) -> bool:
    """Whether all arms that the goal concerns have been run."""
    return {*LEARNED, *CONTROLS} <= set(scores)


def _of_k(scores: Mapping[str, Values], ahead: Sequence[str]) -> str:
    """Describe whether the goal is met at one number of macros."""
    learned = [arm for arm in LEARNED if arm in scores]
    if not learned or not set(CONTROLS) <= set(scores):
        return "too little has been run to say."
    seeds = min(len(scores[arm]) for arm in (*learned, *CONTROLS))
    left = [arm for arm in LEARNED if arm not in scores]
    rest = _of_oracle(scores) + (f" Not run on all problems: {_names(left)}." if left else "")
    if ahead:
        said = " and ".join(f"*{arm}* ({_said(scores, arm)})" for arm in ahead)
        return f"met, by {said}; at least {seeds} seeds.{rest}"
    nearest = max(learned, key=lambda arm: min(x.low for x in differences(scores, arm)))
    return (
        f"not met{' so far' if left else ''}; the closest arm is *{nearest}* "
        f"({_said(scores, nearest)}); at least {seeds} seeds.{rest}"
    )


def _of_oracle(scores: Mapping[str, Values]) -> str:
    """Describe how much the oracles gain over uniform, with Σ and with Σ(s)."""
    gain = {
        arm: _signed(interval(difference, scores[arm], scores["uniform"]))
        for arm in ORACLES
        if arm in scores
    }
    said = ""
    if "oracle" in gain:
        has = "leaves" if clear_headroom(scores) else "leaves no clear"
        said += f" The oracle {has} headroom: {gain['oracle']} over uniform."
    if STATE_ORACLE in gain:
        said += f" The per-state oracle gains {gain[STATE_ORACLE]} over uniform."
    return said


def _verdict(scores: Mapping[int, Mapping[str, Values]], ahead: Mapping[int, list[str]]) -> str:
    """Conclude whether the goal as a whole is met."""
    everywhere = [arm for arm in LEARNED if all(arm in of_k for of_k in ahead.values())]
    if everywhere:
        return f"The goal is therefore met, by {_names(everywhere)}.\n"
    if any(_is_known(of_k) and not ahead[k] for k, of_k in scores.items()):
        return "The goal is therefore not met.\n"
    if not all(_is_known(of_k) for of_k in scores.values()):
        return "Whether the goal is met cannot be said until all of these arms have been run.\n"
    return "The goal is therefore met at each k, but not by any one arm at both.\n"


def _names(arms: Sequence[str]) -> str:
    """Join names of arms by semicolons, since some contain commas."""
    return "; ".join(f"*{arm}*" for arm in arms)


def _said(scores: Mapping[str, Values], arm: str) -> str:
    """Format an arm's differences from the controls."""
    found = zip(differences(scores, arm), CONTROLS, strict=True)
    return " and ".join(f"{_signed(apart)} over {control}" for apart, control in found)


def _signed(found: Interval) -> str:
    """``+0.012 [-0.003, +0.020]``."""
    return f"{found.point:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def panels(rows: Rows, unit: str = "decision") -> dict[str, Panels]:
    """Panels of each figure, by its path, without what has not been run.

    Args:
        rows: The table.
        unit: Unit in which updates are counted.
    """
    scores = {k: complete_arms(rows, cells_at(k, unit)) for k in GOAL_AT}
    apart = {
        f"k = {k}: − {control}": {
            arm: interval(difference, own, of_k[control])
            for arm, own in of_k.items()
            if arm != control
        }
        for k, of_k in scores.items()
        for control in CONTROLS
        if control in of_k
    }
    shares = {
        f"k = {k}": {
            arm: interval(headroom_share, own, of_k["uniform"], of_k["oracle"])
            for arm, own in of_k.items()
            if arm in (*LEARNED, "overlap", "permuted")
        }
        for k, of_k in scores.items()
        if clear_headroom(of_k)
    }
    found: dict[str, Panels] = {DIFFERENCES: apart, HEADROOM: shares}
    return {path: drawn for path, drawn in found.items() if any(drawn.values())}


def draw_claims(rows: Rows, folder: Path) -> None:
    """Draw the figures; ``folder`` holds the page."""
    for path, drawn in panels(rows).items():
        draw_arms(folder / path, drawn, LABELS[path], LEARNED, AT[path])


def figures(rows: Rows) -> list[str]:
    """Markdown of the figures in the page."""
    return [f"![{LABELS[path]}]({path})\n" for path in panels(rows)]
