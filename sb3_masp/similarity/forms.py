"""Makes a learner's Σ: from the name of a form, from a file, or from a given one."""

import copy
from pathlib import Path

import torch as th

from macro_gym import MacroSet
from sb3_masp.similarity.base import SIMILARITIES, Similarity, SimilarityError
from sb3_masp.similarity.initial import Start, initial_similarity, similarity_of_file


def make_similarity(
    form: str | Similarity,
    start: Start,
    n_actions: int,
    macro_set: MacroSet | None = None,
    seed: int | None = None,
) -> Similarity:
    """Return a Σ of a named form, the Σ of a file, or a copy of a given one.

    Args:
        form: A key of `SIMILARITIES`, a file that `save_similarity` wrote, of the same actions, or
            a Σ.
        start: Initial matrix of a named form, as for `initial_similarity`.
        n_actions: Number of actions.
        macro_set: The environment's macros, if it has any.
        seed: Seed of a random start, and of forms that draw.

    Raises:
        SimilarityError: The form or the start is unknown, or they do not go together; or Σ is
            over other actions.
    """
    if isinstance(form, Similarity):
        if form.n_actions != n_actions:
            raise SimilarityError(
                f"the similarity given is over {form.n_actions} actions, but the environment has "
                f"{n_actions}"
            )
        return copy.deepcopy(form)
    if is_file(form):
        if start != "uniform":
            raise SimilarityError(
                f"similarity is the file {form}, which says where Σ starts, so similarity_start="
                f"{start!r} would be ignored; for another form that starts there say "
                f"similarity='softmax', similarity_start={form!r}"
            )
        return similarity_of_file(form, n_actions, macro_set)
    if form not in SIMILARITIES:
        raise SimilarityError(
            f"similarity is {form!r}; it may be {', '.join(SIMILARITIES)}, or a file that "
            "save_similarity wrote, and there is no such file"
        )
    kind = SIMILARITIES[form]
    _require_fitting(kind, start)
    if start == "uniform":
        initial = th.tensor(1 / n_actions).expand(n_actions, n_actions)  # A² places, one number
    else:
        initial = initial_similarity(start, n_actions, macro_set, seed)
    return kind.for_actions(initial, macro_set, seed)


def is_file(form: str) -> bool:
    """Whether ``form`` is the name of a file, not of a form."""
    return form not in SIMILARITIES and Path(form).is_file()


def _require_fitting(kind: type[Similarity], start: Start) -> None:
    """Reject a start that a form cannot take.

    Raises:
        SimilarityError: The form cannot take it.
    """
    if start == "identity" and kind.takes_start and not kind.reaches_identity:
        reaching = [
            name
            for name, form in SIMILARITIES.items()
            if form.takes_start and form.reaches_identity
        ]
        raise SimilarityError(
            f"similarity {kind.form!r} cannot come near identity, so it cannot start from "
            f"'identity'; {', '.join(reaching)} can"
        )
    if not kind.takes_start and start not in ("uniform", kind.form):
        raise SimilarityError(
            f"similarity {kind.form!r} is one fixed matrix, so similarity_start={start!r} would "
            "be ignored; for Σ fixed at a start of your choice say similarity='fixed'"
        )
