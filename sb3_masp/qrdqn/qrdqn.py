"""MASPQRDQN: quantile regression that shares credit among similar actions."""

from typing import Any, ClassVar, Literal

import torch as th
from sb3_contrib import QRDQN
from sb3_contrib.qrdqn import policies as contrib
from sb3_contrib.qrdqn.policies import QRDQNPolicy
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from torch import Tensor, nn

from sb3_masp.buffers import MacroReplaySamples
from sb3_masp.conditioning import ConditionedPolicy
from sb3_masp.losses import Reduction, quantile_losses, quantile_target
from sb3_masp.macro_learner import TDLoss
from sb3_masp.macro_model import given
from sb3_masp.masp import MASP
from sb3_masp.qrdqn.policies import CnnPolicy, MlpPolicy, MultiInputPolicy
from sb3_masp.similarity import Similarity
from sb3_masp.similarity.initial import Start
from sb3_masp.similarity_learning import SimilarityLearning


class MASPQRDQN(MASP, QRDQN):
    """sb3-contrib's QR-DQN plus the Macro-Action Similarity Penalty ``η‖Q(s,·) − ΣQ(s,·)‖²``.

    The penalty acts on expected values, the means over quantiles; everything else is as for
    `MASPDQN`. With ``eta=0`` and ``embedding_dim=0`` it equals sb3-contrib's QR-DQN, weight for
    weight.

    Args:
        policy: ``"MlpPolicy"``, ``"CnnPolicy"``, ``"MultiInputPolicy"`` or a class.
        env: The environment, or its id.
        learning_rate: As for QRDQN.
        buffer_size: Capacity in decisions; a million take 0.7 GiB on Breakout, compressed.
        learning_starts: Decisions before the first update.
        batch_size: Decisions in a batch.
        tau: As for QRDQN.
        gamma: γ, the discount of one *step* (primitive), not of a decision.
        train_freq: When to train: ``(4, "decision")`` is every 4 decisions, over all environments;
            ``4`` or ``(4, "step")`` is every 4 vectorised steps, as for DQN, in each of which every
            environment takes a decision.
        gradient_steps: As for QRDQN.
        replay_buffer_class: `MacroReplayBuffer` if None.
        replay_buffer_kwargs: Further arguments of the buffer.
        optimize_memory_usage: Has no effect: each observation is stored once anyway.
        n_steps: Decisions in an n-step return.
        target_update_interval: Decisions between updates of the target network, which keeps
            the Σ of its last update.
        exploration_fraction: As for QRDQN.
        exploration_initial_eps: As for QRDQN.
        exploration_final_eps: As for QRDQN.
        max_grad_norm: As for QRDQN; None for no clipping.
        stats_window_size: As for QRDQN.
        tensorboard_log: As for QRDQN.
        policy_kwargs: As for QRDQN; ``n_quantiles`` is among them.
        verbose: As for QRDQN; from 1 on, also prints the buffer's memory before learning starts.
        seed: As for QRDQN; also of a random initial Σ.
        device: As for QRDQN.
        eta: η, weight of the penalty, or a schedule; see `MASPDQN`.
        meta_learning_rate: β, learning rate of Σ's Adam, or a schedule.
        meta_interval: Updates per outer step.
        meta_average: Outer steps, each on its own batches, whose gradients are averaged into one
            step of Σ.
        outer_batch_size: Decisions in an outer batch; ``batch_size`` if None.
        meta_gradient: ``"exact"``, or ``"last_layer"`` for only that layer's part, at less cost.
        penalty_reduction: ``"mean"`` or ``"sum"`` over actions.
        similarity: Form of Σ: ``"softmax"``, ``"softmax_diagonal"``, ``"sigmoid"``,
            ``"unconstrained"``, ``"low_rank"``, ``"kernel"``, ``"group_kernel"``, ``"state"``; the
            controls ``"fixed"``, ``"uniform"``, ``"identity"``, ``"overlap"``, ``"permuted"``; or a
            `Similarity`, which is copied. For thousands of actions, use a form without a matrix:
            ``"low_rank"`` or ``"group_kernel"``.
        similarity_start: Initial Σ of a named form: ``"uniform"``, ``"overlap"``,
            ``"identity"``, ``"permuted"``, ``"random"``, or a file that `save_similarity` wrote.
        similarity_frozen: Keep the initial Σ, as in the fixed controls.
        similarity_learning: How Σ is learned: ``"meta"``, ``"meta_shared"``, ``"auxiliary"``, or a
            `SimilarityLearning` such as ``AuxiliaryHead(prior=0.5)``, which is copied.
        embedding_dim: Length of e_Σ, on which Q is conditioned; 0 for no conditioning.
        embedding: W_emb: ``"factored"``, fixed and random, or the paper's ``"dense"``, trained.
        clip_rewards: Clip each primitive's reward to [-1, 1] before discounting; None does so
            for MacroALE and MacroRetro, whose rewards are game scores.
        double_q: Let the online network choose the target's action (arXiv 1509.06461).
        prioritized_replay: Sample by quantile loss (arXiv 1511.05952; 1710.02298 for losses instead
            of TD errors), with annealed importance weights.
        cuda_graph: As for `MASPDQN`.
        overlap_updates: As for `MASPDQN`.

    Source: arXiv 2506.13690 on arXiv 1710.10044.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }
    conditioned_policies: ClassVar[dict[type[BasePolicy], type[ConditionedPolicy]]] = {
        contrib.MlpPolicy: MlpPolicy,
        contrib.CnnPolicy: CnnPolicy,
        contrib.MultiInputPolicy: MultiInputPolicy,
    }
    value_parts = ("quantile_net",)

    def __init__(
        self,
        policy: str | type[QRDQNPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 5e-5,
        buffer_size: int = 1_000_000,
        learning_starts: int = 100,
        batch_size: int = 32,
        tau: float = 1.0,
        gamma: float = 0.99,
        train_freq: int | tuple[int, str] = (4, "decision"),
        gradient_steps: int = 1,
        replay_buffer_class: type[ReplayBuffer] | None = None,
        replay_buffer_kwargs: dict[str, Any] | None = None,
        optimize_memory_usage: bool = False,
        n_steps: int = 1,
        target_update_interval: int = 10000,
        exploration_fraction: float = 0.005,
        exploration_initial_eps: float = 1.0,
        exploration_final_eps: float = 0.01,
        max_grad_norm: float | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
        *,
        eta: float | Schedule = 0.3,
        meta_learning_rate: float | Schedule = 1e-2,
        meta_interval: int = 4,
        meta_average: int = 1,
        outer_batch_size: int | None = None,
        meta_gradient: Literal["exact", "last_layer"] = "exact",
        penalty_reduction: Reduction = "mean",
        similarity: str | Similarity = "softmax",
        similarity_start: Start = "uniform",
        similarity_frozen: bool = False,
        similarity_learning: str | SimilarityLearning = "meta",
        embedding_dim: int = 32,
        embedding: Literal["factored", "dense"] = "factored",
        clip_rewards: bool | None = None,
        double_q: bool = False,
        prioritized_replay: bool = False,
        cuda_graph: bool = False,
        overlap_updates: bool = False,
    ) -> None:
        """Pass the arguments on to `MASP`, `MacroLearner` and QRDQN."""
        super().__init__(**given(locals()))

    @property
    def _network(self) -> nn.Module:
        """The online quantile network."""
        return self.quantile_net

    @property
    def _target_network(self) -> nn.Module:
        """The target quantile network."""
        return self.quantile_net_target

    def _expected_values(self, outputs: Tensor) -> Tensor:
        """The means over quantiles."""
        return outputs.mean(dim=1)

    def _td_loss(self, batch: MacroReplaySamples) -> TDLoss:
        """Quantile Huber loss towards the quantiles of ``R + γ^τ Z⁻(s′, argmax_a Q⁻(s′, a))``."""
        with th.no_grad():
            targets = quantile_target(
                batch.rewards,
                batch.dones,
                self.gamma if batch.discounts is None else batch.discounts,
                self.quantile_net_target(batch.next_observations),
                self._read(batch.next_observations) if self.double_q else None,
            )
        quantiles = self.quantile_net(batch.observations)
        taken = batch.actions[:, None].long().expand(-1, self.n_quantiles, 1)
        losses = quantile_losses(quantiles.gather(2, taken).squeeze(2), targets)
        weighted = batch.weights * losses if self.prioritized_replay else losses
        surprise = losses.detach().mean(dim=1)
        return TDLoss(
            weighted.mean(),
            self._expected_values(quantiles),
            surprise,
            targets.mean(dim=1, keepdim=True),
        )
