"""Compare the order of arms with the paper's, by intervals of the differences between them."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from examples.credit.runs import Rows
from examples.credit.tables import Choices, by_arm, scores_of
from examples.experiments.comparison import Interval, difference, interval, iqm
from examples.experiments.table import Values

HOLDS, REVERSED, OPEN = "holds", "reversed", "open"

ORDERING = """\
Do the arms come in the paper's order? {claims}
For each pair the table shows the interquartile mean of the arm that needs less in the paper, minus
that of the other. The paper's order *holds* where the 95% interval is below zero, is *reversed*
where it is above, and is *open* where zero is within it. Intervals of so few seeds are rough.
"""

WIDENING = """\
Does the gap grow with depth, as in the paper? For each arm the table shows its episodes as a share
of those of {control}, minus the same share at the previous depth, with the verdicts as above.
"""


class Pair(NamedTuple):
    """Two arms in the paper's order.

    Args:
        less: The arm with the lower value of a measure of which less is better.
        more: The other arm.
    """

    less: str
    more: str

    def __str__(self) -> str:
        """Name of the pair in tables."""
        return f"{self.less} < {self.more}"


def verdict(found: Interval) -> str:
    """Verdict on the paper's order, from the interval of a difference that it says is negative."""
    return HOLDS if found.high < 0 else REVERSED if found.low > 0 else OPEN


def growth(deep: Values, deep_control: Values, shallow: Values, shallow_control: Values) -> Values:
    """Change of an arm's share of the control's score from the shallow to the deep problem."""
    return iqm(deep) / iqm(deep_control) - iqm(shallow) / iqm(shallow_control)


def orderings(
    rows: Rows,
    chosen: Mapping[str, Choices],
    pairs: Mapping[str, Sequence[Pair]],
    measure: str,
    claims: str,
) -> str:
    """Render the section's part on order: a table of pairs by problem, and a summary.

    Args:
        rows: The table of runs.
        chosen: The arms' choices, by problem.
        pairs: Pairs of arms in the paper's order, by problem.
        measure: A column of which less is better.
        claims: The paper's claims, in a sentence.
    """
    found: dict[tuple[str, str], Interval] = {}
    for problem, said in pairs.items():
        for pair in said:
            scores = [scores_of(rows, problem, a, chosen[problem][a], measure) for a in pair]
            if all(map(len, scores)):
                less, more = (own[:, None] for own in scores)
                found[problem, str(pair)] = interval(difference, less, more)
    return _told(found, list(pairs), ORDERING.format(claims=claims), "in the paper", 0)


def widening(
    rows: Rows, chosen: Mapping[str, Choices], problems: Sequence[str], arms: Sequence[str]
) -> str:
    """Render whether arms' shares of the first arm's episodes fall from problem to problem."""
    control, *others = arms
    found: dict[tuple[str, str], Interval] = {}
    for before, problem in pairwise(problems):
        for arm in others:
            scores = [
                scores_of(rows, place, name, chosen[place][name], "episodes")
                for place in (problem, before)
                for name in (arm, control)
            ]
            if all(map(len, scores)):
                found[problem, arm] = interval(growth, *(own[:, None] for own in scores))
    return _told(found, problems[1:], WIDENING.format(control=control), "arm", 2)


def _told(
    found: Mapping[tuple[str, str], Interval],
    problems: Sequence[str],
    head: str,
    column: str,
    digits: int,
) -> str:
    """The table of differences with their verdicts, and the number of each verdict."""
    if not found:
        return ""

    def said(problem: str, name: str) -> str:
        one = found.get((problem, name))
        if one is None:
            return ""
        ends = f"{one.low:,.{digits}f}, {one.high:,.{digits}f}"
        return f"{verdict(one)}: {one.point:,.{digits}f} [{ends}]"

    names = dict.fromkeys(name for _, name in found)
    return "\n".join([head, by_arm(problems, names, said, column), summary(found.values())])


def summary(found: Collection[Interval]) -> str:
    """Summarise all comparisons in a sentence."""
    counts = Counter(map(verdict, found))
    n, held, turned = len(found), counts[HOLDS], counts[REVERSED]
    whole = (
        "the paper's order holds throughout"
        if held == n
        else "the paper's order does not hold throughout"
        if turned
        else "the paper's order is neither contradicted nor shown throughout"
        if held
        else "the paper's order is not shown"
    )
    return (
        f"Of {n} comparisons, the order holds in {held}, is reversed in {turned} and is open in "
        f"{counts[OPEN]}:\n{whole}.\n"
    )
