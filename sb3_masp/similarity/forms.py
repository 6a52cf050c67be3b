"""A Σ for a learner: by the name of its form, of a file, or as it is given."""

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
    """Return a Σ of a named form that starts from a named matrix, a file's, or a copy of one.

    Args:
        form: A key of `SIMILARITIES`, a file that `save_similarity` wrote, of the same actions, or
            a Σ.
        start: For a named form, as for `initial_similarity`, with the other arguments.
        n_actions: Number of actions.
        macro_set: What the actions are, if the environment has macros.
        seed: Of a random start, and of forms that draw.

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
    """Whether this, which names a form of Σ or a file of one, is a file."""
    return form not in SIMILARITIES and Path(form).is_file()


def _require_fitting(kind: type[Similarity], start: Start) -> None:
    """Refuse a start that a form cannot take.

    Raises:
        SimilarityError: See there.
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
