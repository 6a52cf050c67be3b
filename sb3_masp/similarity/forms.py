"""The forms of Σ by name."""

import copy

from macro_gym import MacroSet
from sb3_masp.similarity.base import Similarity, SimilarityError
from sb3_masp.similarity.initial import Start, initial_similarity
from sb3_masp.similarity.sigmoid import SigmoidSimilarity
from sb3_masp.similarity.softmax import DiagonalSoftmaxSimilarity, SoftmaxSimilarity
from sb3_masp.similarity.unconstrained import UnconstrainedSimilarity

FORMS: tuple[type[Similarity], ...] = (
    SoftmaxSimilarity,
    DiagonalSoftmaxSimilarity,
    SigmoidSimilarity,
    UnconstrainedSimilarity,
)
SIMILARITIES = {form.form: form for form in FORMS}


def make_similarity(
    form: str | Similarity,
    start: Start,
    n_actions: int,
    macro_set: MacroSet | None = None,
    seed: int | None = None,
) -> Similarity:
    """Return a Σ of a named form that starts from a named matrix, or a copy of a given one.

    Args:
        form: A key of `SIMILARITIES`, or a Σ.
        start: For a named form, as for `initial_similarity`, with the other arguments.
        n_actions: Number of actions.
        macro_set: What the actions are, if the environment has macros.
        seed: Of a random start.

    Raises:
        SimilarityError: The form or the start is unknown, or they do not go together; or Σ is
            over another number of actions.
    """
    if isinstance(form, Similarity):
        if form.n_actions != n_actions:
            raise SimilarityError(
                f"the similarity given is over {form.n_actions} actions, but the environment has "
                f"{n_actions}"
            )
        return copy.deepcopy(form)
    if form not in SIMILARITIES:
        raise SimilarityError(f"similarity is {form!r}; it may be {', '.join(SIMILARITIES)}")
    if start == "identity" and not SIMILARITIES[form].has_diagonal:
        having = [name for name, candidate in SIMILARITIES.items() if candidate.has_diagonal]
        raise SimilarityError(
            f"similarity {form!r} has no diagonal, so it cannot start from 'identity'; "
            f"{' and '.join(having)} can"
        )
    return SIMILARITIES[form](initial_similarity(start, n_actions, macro_set, seed))
