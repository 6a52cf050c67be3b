"""Transfer of Σ to other actions: by name where they coincide, through a kernel elsewhere."""

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch as th
from torch import Tensor

from macro_gym import MacroSet
from sb3_masp.similarity.base import Similarity, SimilarityError, off_diagonal
from sb3_masp.similarity.described import DescribedSimilarity
from sb3_masp.similarity.files import SimilarityAbout, load_similarity
from sb3_masp.similarity.initial import Start, initial_similarity
from sb3_masp.similarity.kernel import KernelSimilarity
from sb3_masp.similarity.matrices import divided, explained

Unmapped = Literal["error", "uniform", "overlap"]


@dataclass(frozen=True, slots=True)
class Transfer:
    """Which actions of a Σ were transferred, and how.

    Args:
        by_name: Actions that source and target share.
        by_kernel: Actions that were transferred through the kernel, by their features.
        unmapped: Actions with primitives that the source lacks, or that would need a kernel but
            have none.
        unused: Actions of the source that the target lacks.
        default: What the unmapped actions got.
        kernel_fit: Share of the source's divergence from uniform that the kernel explains, if one
            was fitted to it; at 0, what it transferred is uniform.
    """

    by_name: tuple[str, ...] = ()
    by_kernel: tuple[str, ...] = ()
    unmapped: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    default: Unmapped = "error"
    kernel_fit: float | None = None

    def __str__(self) -> str:
        """A summary in a few clauses, with the unmapped actions by name."""
        lines = [f"similarity: {len(self.by_name)} actions carried over by name"]
        if self.by_kernel:
            fit = self.kernel_fit
            explains = (
                "" if fit is None else f", which explains {fit:.0%} of the source's structure"
            )
            lines.append(f"{len(self.by_kernel)} through the kernel{explains}")
        if self.unmapped:
            names = ", ".join(self.unmapped)
            lines.append(f"{len(self.unmapped)} not carried over, {self.default} instead: {names}")
        return "; ".join(lines)


def transferred_similarity(
    source: str | os.PathLike[str] | Similarity,
    macro_set: MacroSet,
    unmapped: Unmapped = "error",
    about: SimilarityAbout | None = None,
) -> tuple[Similarity, Transfer]:
    """Transfer a similarity to other actions, and report what became of each of them.

    Actions coincide if their primitives do, by name and in order. For the same actions in the same
    order, the similarity is returned as it is. A kernel is transferred through its features. Of any
    other form, the matrix is transferred in three layers. Each layer keeps the share that a row
    gave to its actions in the previous one, and redistributes it among them:

    1. all actions: uniform, or overlap if ``unmapped`` says so;
    2. actions whose primitives the source has, if one of them is new: a `KernelSimilarity` fitted
       to the source;
    3. actions that coincide: the source's own entries, in their proportions.

    If the source's rows are not all non-negative with sum one, there is no second layer, and the
    third copies entries unchanged. The form is then built on the matrix as on any initial matrix;
    fixed forms become `FixedSimilarity`.

    Args:
        source: A file that `save_similarity` wrote, or a similarity.
        macro_set: Macro set of the other actions.
        unmapped: What to do with actions that are only in the first layer.
        about: Metadata of a similarity that is not a kernel.

    Raises:
        SimilarityError: There are such actions and ``unmapped`` is ``"error"``, or nothing is known
            of the source's actions.
        FileNotFoundError: There is no such file.
    """
    similarity, about = (
        (source, about or SimilarityAbout())
        if isinstance(source, Similarity)
        else load_similarity(source)
    )
    origin = _Origin.of(similarity, about)
    if origin.macro_set is not None and origin.macro_set.hash == macro_set.hash:
        return copy.deepcopy(similarity), Transfer(by_name=macro_set.names)
    matches = origin.matches(macro_set)
    described = origin.described(macro_set)
    if len(described) < 2:
        described = []  # A kernel compares actions; for a single one it says nothing.
    is_needed = described and (origin.is_kernel or set(described) - set(matches))
    kernel = origin.kernel() if is_needed else None
    transfer = _accounts(origin, macro_set, matches, described if kernel else [], unmapped)
    if transfer.unmapped and unmapped == "error":
        raise SimilarityError(_refusal(origin, transfer))
    if kernel is not None and origin.is_kernel and not transfer.unmapped:
        return kernel.carried_to(macro_set), transfer
    default: Start = "overlap" if unmapped == "overlap" else "uniform"
    result = _start(default, macro_set).to(origin.matrix)
    if kernel is not None:
        result = divided(result, described, kernel.carried_to(_part(macro_set, described))())
    if not origin.is_kernel:
        result = origin.entries_into(result, matches)
        fit = None if kernel is None else explained(origin.matrix, kernel())
        transfer = replace(transfer, kernel_fit=fit)
    return similarity.rebuilt(result.detach(), macro_set), transfer


@dataclass(frozen=True, slots=True)
class _Origin:
    """A similarity and its actions.

    Args:
        similarity: The similarity.
        names: Names of its actions.
        macro_set: Their macro set; None if only the names are known.
    """

    similarity: Similarity
    names: tuple[str, ...]
    macro_set: MacroSet | None

    @classmethod
    def of(cls, similarity: Similarity, about: SimilarityAbout) -> Self:
        """Take the actions from the similarity itself, or else from its metadata.

        Raises:
            SimilarityError: The actions are not known.
        """
        known = about.macros_of_actions
        if isinstance(similarity, DescribedSimilarity):
            known = similarity.macro_set
        names = about.actions if known is None else known.names
        if not names:
            raise SimilarityError(
                "nothing is known of the similarity's actions, so it cannot be carried over to "
                "others; give about=SimilarityAbout.of(macro_set)"
            )
        return cls(similarity, names, known)

    @property
    def is_kernel(self) -> bool:
        """Whether it is transferred through its own features."""
        return isinstance(self.similarity, DescribedSimilarity)

    @property
    def matrix(self) -> Tensor:
        """Σ, shape ``(actions, actions)``."""
        matrix: Tensor = self.similarity()
        return matrix.detach().cpu()

    @property
    def is_stochastic(self) -> bool:
        """Whether rows are non-negative and sum to one."""
        sums = self.matrix.sum(dim=1)
        return bool((self.matrix >= 0).all()) and th.allclose(sums, th.ones_like(sums), atol=1e-4)

    def matches(self, macro_set: MacroSet) -> dict[int, int]:
        """Map our actions to those of the similarity with which they coincide."""
        known = self.macro_set is not None
        theirs = sequences(self.macro_set) if self.macro_set is not None else self.names
        found: dict[object, int] = {key: index for index, key in enumerate(theirs)}
        ours = sequences(macro_set) if known else macro_set.names
        return {index: found[key] for index, key in enumerate(ours) if key in found}

    def described(self, macro_set: MacroSet) -> list[int]:
        """Our actions whose primitives the similarity has."""
        known = () if self.macro_set is None else self.macro_set.primitives
        return [
            action
            for action, sequence in enumerate(sequences(macro_set))
            if all(name in known for name in sequence)
        ]

    def kernel(self) -> DescribedSimilarity | None:
        """The similarity if it is a kernel, one fitted to it if its rows allow, or None."""
        if isinstance(self.similarity, DescribedSimilarity):
            return copy.deepcopy(self.similarity).cpu()
        beside = self.matrix * off_diagonal(self.matrix)
        if self.macro_set is None or not self.is_stochastic or bool((beside.sum(1) <= 0).any()):
            return None
        return KernelSimilarity(beside, self.macro_set)

    def entries_into(self, matrix: Tensor, matches: Mapping[int, int]) -> Tensor:
        """Put its entries for coinciding actions into a matrix over ours."""
        ours, theirs = list(matches), list(matches.values())
        block = self.matrix[theirs][:, theirs]
        if self.is_stochastic:
            return divided(matrix, ours, block)
        result, index = matrix.clone(), th.tensor(ours, dtype=th.int64)
        result[index[:, None], index] = block
        return result


def _accounts(
    origin: _Origin,
    macro_set: MacroSet,
    matches: Mapping[int, int],
    described: Sequence[int],
    unmapped: Unmapped,
) -> Transfer:
    """Account for each action: a kernel transfers all through itself, others by name first."""
    common = {} if origin.is_kernel else matches
    through = [action for action in described if action not in common]
    left = [a for a in range(macro_set.n_actions) if a not in common and a not in through]
    unused = set(range(len(origin.names))) - set(matches.values())
    names = macro_set.names
    return Transfer(
        tuple(names[action] for action in common),
        tuple(names[action] for action in through),
        tuple(names[action] for action in left),
        tuple(origin.names[action] for action in sorted(unused)),
        unmapped,
    )


def _refusal(origin: _Origin, transfer: Transfer) -> str:
    """Why a similarity cannot be transferred, and what can be done."""
    names = ", ".join(transfer.unmapped)
    known = origin.names if origin.macro_set is None else origin.macro_set.primitives
    return (
        f"{len(transfer.unmapped)} of the actions cannot be described by the similarity, which was "
        f"learned on {', '.join(known)}: {names}. Say unmapped='uniform' or 'overlap' "
        "(--similarity-unmapped) to let these be similar to all others, or to those that they "
        "share primitives with."
    )


def _start(name: Start, macro_set: MacroSet) -> Tensor:
    """A named start without its diagonal, rows summing to one."""
    matrix = initial_similarity(name, macro_set.n_actions, macro_set)
    weights = matrix * off_diagonal(matrix)
    return weights / weights.sum(dim=1, keepdim=True)


def sequences(macro_set: MacroSet) -> tuple[tuple[str, ...], ...]:
    """The primitives of each action, by name, first to last."""
    return tuple(
        tuple(macro_set.primitives[primitive] for primitive in macro_set.expand(action))
        for action in range(macro_set.n_actions)
    )


def _part(macro_set: MacroSet, actions: Sequence[int]) -> MacroSet:
    """A macro set of some actions, which include the primitives that its macros consist of."""
    kept = [action for action in actions if action < len(macro_set.primitives)]
    primitives = tuple(macro_set.primitives[primitive] for primitive in kept)
    macros = (macro_set.expand(action) for action in actions[len(kept) :])
    return MacroSet(primitives, tuple(tuple(map(kept.index, macro)) for macro in macros))
