"""ExtractionSettings: the settings of every method of mining macros."""

from collections import Counter
from dataclasses import dataclass

from macro_gym.errors import InvalidMacroError


@dataclass(frozen=True, slots=True)
class ExtractionSettings:
    """Which macros to mine, and how play is weighted.

    Args:
        k: Number of macros to return.
        max_length: Steps in the longest macro.
        min_length: Steps in the shortest macro.
        min_count: Minimum number of occurrences of a macro; each method defines what an occurrence
            is.
        primitives: Names that the set indexes; those of the first demonstration if None.
        frameskip: Frames per step that the play must have; any single one if None.
        weights: One integer per demonstration, all 1 if empty. A demonstration of weight w counts w
            times; give scarce or good play more.

    Raises:
        InvalidMacroError: ``k`` is negative, the lengths are no range, or ``min_count`` or a weight
            is below 1.
    """

    k: int = 512
    max_length: int = 8
    min_length: int = 2
    min_count: int = 1
    primitives: tuple[str, ...] | None = None
    frameskip: int | None = None
    weights: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Validate the settings."""
        if self.k < 0:
            raise InvalidMacroError(f"k is {self.k}; it must be at least 0")
        if not 1 <= self.min_length <= self.max_length:
            raise InvalidMacroError(
                f"lengths {self.lengths} are no range; 1 <= min_length <= max_length"
            )
        if self.min_count < 1:
            raise InvalidMacroError(f"min_count is {self.min_count}; it must be at least 1")
        for index, weight in enumerate(self.weights):
            if not isinstance(weight, int) or weight < 1:
                raise InvalidMacroError(
                    f"weights[{index}] is {weight!r}; weights are whole numbers from 1 on, so that "
                    "counts stay exact. For half the weight of another, double the other"
                )

    @property
    def lengths(self) -> str:
        """The lengths in words: ``2..8``."""
        return f"{self.min_length}..{self.max_length}"

    @property
    def restrictions(self) -> str:
        """Restrictions and weights of the count, for a macro set's provenance; often empty."""
        at_least = f", at least {self.min_count} times" if self.min_count > 1 else ""
        if set(self.weights) <= {1}:
            return at_least
        shares = (f"{weight} for {n}" for weight, n in sorted(Counter(self.weights).items()))
        return f"{at_least}, weights {', '.join(shares)} demonstrations"
