"""The paper's meta-gradient with half the batches: each outer batch is the next inner batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch as th
from torch import Tensor

from sb3_masp.samples import MacroReplaySamples
from sb3_masp.similarity_learning.base import Evaluation
from sb3_masp.similarity_learning.meta import MetaLearning

if TYPE_CHECKING:
    from sb3_masp.masp import MASP


class KeptBatch:
    """A batch for the next update, saved with the model; or none."""

    batch: MacroReplaySamples | None = None

    def state_dict(self) -> dict[str, Any]:
        """Parts of the batch by name; empty without one."""
        if self.batch is None:
            return {}
        return self.batch._asdict() | {"indices": th.as_tensor(self.batch.indices)}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> None:
        """Restore what `state_dict` returned."""
        indices = {"indices": state["indices"].cpu().numpy()} if state else {}
        self.batch = MacroReplaySamples(**{**state, **indices}) if state else None


class SharedMetaLearning(MetaLearning):
    """`MetaLearning` whose outer batch is the inner batch of the next update.

    The outer loss is the TD loss at θ′, where the next update starts: on the same batch it is the
    TD loss of the next inner step, which then only needs the penalty and its gradient. It is
    computed again if one of the networks has changed in between: the target network by its update,
    a conditioned one by the Σ that it is shown, a noisy one by its noise; and always with batch
    normalisation, whose running statistics must see the batch when it is learned from.

    Every batch is still held out from the step that it judges.
    """

    way = "meta_shared"
    parts = (*MetaLearning.parts, "kept")
    keeps_graph = True
    needs_indices = True

    def set_up(self, learner: MASP) -> None:
        """Check the learner's settings, and start without a batch.

        Raises:
            LearnerSettingError: Outer batches have a size of their own; or updates are to be
                captured, which is impossible for a graph that outlives them.
        """
        # The learner's module imports this package.
        from sb3_masp.macro_model import require_setting

        for name, allowed in (("outer_batch_size", None), ("cuda_graph", False)):
            value = getattr(learner, name)
            require_setting(name, value, value == allowed, f"{allowed} with meta_shared")
        super().set_up(learner)
        self.kept = KeptBatch()
        self._evaluation: tuple[Evaluation, list[float]] | None = None

    def inner_batch(self, learner: MASP, size: int) -> MacroReplaySamples:
        """Return the outer batch of the previous update, if it had one, or else a new one."""
        batch, self.kept.batch = self.kept.batch, None
        if batch is None or not _is_held(learner, batch):
            self._evaluation = None
            return learner._sample(size)
        return batch

    def evaluate(self, learner: MASP, inner: MacroReplaySamples, note: bool) -> Evaluation:
        """Return the outer loss's evaluation, if the networks have not changed since."""
        evaluation, self._evaluation = self._evaluation, None
        # The outer step did not let the batch enter running statistics.
        if evaluation is None or learner._norms or evaluation[1] != _state(learner):
            return super().evaluate(learner, inner, note)
        return evaluation[0]

    def _outer_loss(self, learner: MASP, outer: MacroReplaySamples) -> Tensor:
        """The TD loss, which is kept with its batch."""
        evaluation = super().evaluate(learner, outer, note=True)
        self.kept.batch = outer
        self._evaluation = evaluation, _state(learner)
        return evaluation.td.loss


def _is_held(learner: MASP, batch: MacroReplaySamples) -> bool:
    """Whether the replay buffer has the batch's decisions, to update their priorities.

    The buffer of a loaded model is empty.
    """
    buffer = learner.replay_buffer
    return not learner.prioritized_replay or batch.indices.max() < buffer.size() * buffer.n_envs


def _state(learner: MASP) -> list[float]:
    """Numbers that change whenever a parameter or buffer of either network is written.

    SB3 updates target networks without raising autograd's version counters, hence the sums.
    """
    online, target = learner._network, learner._target_network
    tensors = (
        t for network in (online, target) for t in network.state_dict(keep_vars=True).values()
    )
    return [*(t._version for t in tensors), *(float(p.detach().sum()) for p in target.parameters())]
