"""Variants of the learner and its macros, and the tables in which ablations compare them."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from examples.experiments.arms import ARMS, NONE, Arm
from examples.experiments.problems import PROBLEMS

STRENGTHS = ("0.1", "0.3", "1", "3")
"""Values of η that a variant chooses from, on seeds that are not reported."""

STARTS = ("uniform", "overlap", "permuted", "random")
ETAS = ("0.03", "0.1", "0.3", "1", "3")
PAPERS_ETAS = ("0.1", "0.3", "0.5", "0.7", "1")
BETAS = ("0.0001", "0.001", "0.005", "0.01", "0.1")
DEFAULT_BETA = "0.01"
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
WATCHED = ("uniform, learned", "overlap, learned", "uniform with diagonal, learned")
OTHERS = {"rooms, near": "rooms, far", "rooms, far": "rooms, near"}
"""The problem from which each problem takes another's Σ."""

EARLIER_SEEDS = 1_000
"""Offset of the seeds of the earlier runs that Σ is carried over from."""

Source = Literal["play", "byte pairs", "planner"]
Carried = Literal["", "own", "other's"]


@dataclass(frozen=True)
class Variant(Arm):
    """An arm of an ablation.

    Args:
        source: Source of the macros that are not random.
        carried: Problem of the earlier run whose Σ it has, frozen, if any: its own, or another.
    """

    source: Source = "play"
    carried: Carried = ""


@dataclass(frozen=True)
class Line:
    """A line of a table.

    Args:
        variant: Name of the variant.
        label: Label in the table.
        panel: Heading of the lines that it is grouped with.
        share: Share of the macros that is mined rather than random.
        control: Variant that it is compared with, at the same share.
        at: Where it is on the figure's axis, if the ablation has one.
    """

    variant: str
    label: str
    panel: str = ""
    share: float = 0.5
    control: str = "uniform, frozen"
    at: float = 0.0


@dataclass(frozen=True)
class Ablation:
    """A table that compares variants.

    Args:
        title: Heading of the table.
        about: Description for readers.
        lines: Lines of the table.
        problems: Problems on which they are compared.
        is_watched: Whether it shows statistics of Σ over a run, rather than scores.
        axis: Quantity that differs between its headings, over which its figure has curves; if
            empty, the figure has a panel for each heading.
        log_base: Base of that axis if it is logarithmic.
        baseline: Heading with whose lines those of other headings are compared, label by label.
    """

    title: str
    about: str
    lines: tuple[Line, ...]
    problems: tuple[str, ...] = tuple(PROBLEMS)
    is_watched: bool = False
    axis: str = ""
    log_base: int | None = None
    baseline: str = ""

    @property
    def shares(self) -> tuple[float, ...]:
        """The shares of its lines."""
        return tuple(dict.fromkeys(line.share for line in self.lines))

    def variants(self, share: float) -> dict[str, Variant]:
        """The variants to run at a share, by name."""
        lines = [line for line in self.lines if line.share == share]
        controls = () if self.is_watched else (line.control for line in lines)
        names = dict.fromkeys((*(line.variant for line in lines), *controls))
        return {name: VARIANTS[name] for name in names}


def _variants() -> dict[str, Variant]:
    """Every variant by its name."""
    made = {"none": Variant(ARMS["macros"].about, ARMS["macros"].arguments, NONE)}
    made |= {f"{start}, frozen": _dense(start, frozen=True) for start in STARTS}
    made |= {f"{start}, learned": _dense(start) for start in STARTS}
    diagonal = {"similarity": "softmax_diagonal"}
    made |= {
        "identity, frozen": _dense("identity", frozen=True, **diagonal),
        "identity, learned": _dense("identity", **diagonal),
        "uniform with diagonal, learned": _dense("uniform", **diagonal),
    }
    made["uniform, learned, summed"] = _dense("uniform", penalty_reduction="sum")
    made["uniform, frozen, summed"] = _dense("uniform", frozen=True, penalty_reduction="sum")
    for name, etas in (
        ("uniform, frozen", ETAS),
        ("uniform, learned", ETAS),
        ("uniform, learned, summed", PAPERS_ETAS),
        ("uniform, frozen, summed", PAPERS_ETAS),
        *((name, ("1",)) for name in WATCHED),
    ):
        made |= {
            f"{name}, η = {eta}": replace(made[name], strengths=(eta,), runs_of=name)
            for eta in etas
        }
    for beta in BETAS:
        if beta != DEFAULT_BETA:
            made[f"uniform, learned, β = {beta}"] = _dense(
                "uniform", meta_learning_rate=float(beta)
            )
    for source in ("byte pairs", "planner"):
        for name in ("none", "uniform, frozen", "uniform, learned"):
            made[f"{name}, {source}"] = replace(made[name], source=source)
    fixed = {"similarity_frozen": True}
    made["own Σ, frozen"] = Variant("Σ learned earlier.", fixed, STRENGTHS, carried="own")
    made["other's Σ, frozen"] = Variant("Σ of another.", fixed, STRENGTHS, carried="other's")
    return made


def _dense(start: str, frozen: bool = False, **arguments: Any) -> Variant:
    """A dense Σ with a given start, meta-learned or frozen there."""
    own = {"similarity_start": start, "similarity_frozen": frozen} | arguments
    return Variant(f"Σ {'frozen' if frozen else 'meta-learned'}, from {start}.", own, STRENGTHS)


VARIANTS = _variants()

INITIALISATION = Ablation(
    "Where Σ starts",
    "Σ meta-learned from each start, and frozen at it. The start from identity uses a form with a "
    "learnable diagonal, which the others lack; frozen there, it penalises next to nothing.",
    tuple(
        Line(name, name)
        for name in (
            "none",
            *(f"{start}, {how}" for start in STARTS for how in ("frozen", "learned")),
            "uniform with diagonal, learned",
            "identity, frozen",
            "identity, learned",
        )
    ),
)

ETA = Ablation(
    "η",
    "A fixed uniform Σ and a meta-learned one at each η, and both with the penalty summed over "
    "actions, as in the paper, rather than averaged: with 68 actions it is then 68 times as "
    "strong. The control is the uniform Σ at the same η, likewise averaged or summed.",
    tuple(
        Line(f"{name}, η = {eta}", name, f"η = {eta}", 0.5, control.format(eta), float(eta))
        for eta in sorted({*ETAS, *PAPERS_ETAS}, key=float)
        for name, etas, control in (
            ("uniform, frozen", ETAS, "uniform, frozen, η = {}"),
            ("uniform, learned", ETAS, "uniform, frozen, η = {}"),
            ("uniform, frozen, summed", PAPERS_ETAS, "uniform, frozen, summed, η = {}"),
            ("uniform, learned, summed", PAPERS_ETAS, "uniform, frozen, summed, η = {}"),
        )
        if eta in etas
    ),
    axis="η",
    log_base=10,
)

BETA = Ablation(
    "β",
    f"The learning rate of Σ's Adam, by default {DEFAULT_BETA}; the paper swept 0.001, 0.005 and "
    "0.01.",
    tuple(
        Line("uniform, learned" + (f", β = {beta}" if beta != DEFAULT_BETA else ""), f"β = {beta}")
        for beta in BETAS
    ),
)

NOISE = Ablation(
    "Noise among the macros",
    "From all macros random to all mined; random macros have the lengths of the mined ones. "
    "Differences at 25% were checked on further seeds, in the section on small problems.",
    tuple(
        Line(name, name, f"{share:.0%} mined", share, at=share)
        for share in SHARES
        for name in ("none", "uniform, frozen", "overlap, frozen", "uniform, learned")
    ),
    axis="share of the macros that is mined",
)

SOURCE = Ablation(
    "Where macros come from",
    "All macros of one kind: n-grams of play that takes a best action, known by value iteration, "
    "except in a tenth of its steps; byte-pair merges of the same play; n-grams of such play with "
    "errors in only a hundredth (*planner*); and random sequences with the n-grams' lengths.",
    tuple(
        Line(f"{name}{suffix}", name, source, share, f"uniform, frozen{suffix}")
        for source, suffix, share in (
            ("n-grams", "", 1.0),
            ("byte pairs", ", byte pairs", 1.0),
            ("planner", ", planner", 1.0),
            ("random", "", 0.0),
        )
        for name in ("none", "uniform, frozen", "uniform, learned")
    ),
    baseline="n-grams",
)

TRANSFER = Ablation(
    "Transfer",
    "Σ meta-learned from uniform in an earlier run with as many steps and another seed, on the "
    "same problem or on the other one, and then frozen. Both starts in the four rooms have the "
    "same macros. The earlier run has the later run's η.",
    tuple(
        Line(name, name)
        for name in (
            "none",
            "uniform, frozen",
            "uniform, learned",
            "own Σ, frozen",
            "other's Σ, frozen",
        )
    ),
    tuple(OTHERS),
)

STATISTICS = Ablation(
    "Σ while it is learned",
    "Meta-learned at η = 1, which was not tuned.",
    tuple(Line(f"{name}, η = 1", name) for name in WATCHED),
    is_watched=True,
)

ABLATIONS = {
    "initialisation": INITIALISATION,
    "eta": ETA,
    "beta": BETA,
    "transfer": TRANSFER,
    "noise": NOISE,
    "statistics": STATISTICS,
    "source": SOURCE,
}
"""The tables by name."""
