"""MASPDQN: deep Q-learning that shares credit among similar actions."""

from typing import Any, ClassVar, Literal

import torch as th
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from stable_baselines3.dqn import policies as sb3
from stable_baselines3.dqn.policies import DQNPolicy
from torch import nn

from sb3_masp.buffers import MacroReplaySamples
from sb3_masp.conditioning import ConditionedPolicy
from sb3_masp.dqn.policies import CnnPolicy, MlpPolicy, MultiInputPolicy
from sb3_masp.losses import Reduction, td_loss, td_target
from sb3_masp.macro_learner import TDLoss
from sb3_masp.macro_model import given
from sb3_masp.masp import MASP
from sb3_masp.similarity import Similarity
from sb3_masp.similarity.initial import Start
from sb3_masp.similarity_learning import SimilarityLearning


class MASPDQN(MASP, DQN):
    """SB3's DQN plus the Macro-Action Similarity Penalty ``η‖Q(s,·) − ΣQ(s,·)‖²``.

    Σ is meta-learned: after an inner step on TD loss plus penalty, the TD loss on a held-out batch
    is differentiated exactly through that step, including optimizer and clipping, with respect to
    Σ. With ``eta=0`` and ``embedding_dim=0`` it equals SB3's DQN, weight for weight. It runs on any
    environment with a Discrete action space; on macro environments, rewards within a decision are
    discounted per primitive step and the bootstrap by γ^τ.

    Args:
        policy: ``"MlpPolicy"``, ``"CnnPolicy"``, ``"MultiInputPolicy"`` or a class.
        env: The environment, or its id.
        learning_rate: As for DQN.
        buffer_size: Capacity in decisions; a million take 0.7 GiB on Breakout, compressed.
        learning_starts: Decisions before the first update.
        batch_size: Decisions in a batch.
        tau: As for DQN.
        gamma: γ, the discount of one *step* (primitive), not of a decision.
        train_freq: When to train: ``(4, "decision")`` is every 4 decisions, over all environments;
            ``4`` or ``(4, "step")`` is every 4 vectorised steps, as for DQN, in each of which every
            environment takes a decision.
        gradient_steps: As for DQN.
        replay_buffer_class: `MacroReplayBuffer` if None.
        replay_buffer_kwargs: Further arguments of the buffer.
        optimize_memory_usage: Has no effect: each observation is stored once anyway.
        n_steps: Decisions in an n-step return.
        target_update_interval: Decisions between updates of the target network, which keeps
            the Σ of its last update.
        exploration_fraction: As for DQN.
        exploration_initial_eps: As for DQN.
        exploration_final_eps: As for DQN.
        max_grad_norm: As for DQN.
        stats_window_size: As for DQN.
        tensorboard_log: As for DQN.
        policy_kwargs: As for DQN.
        verbose: As for DQN; from 1 on, also prints the buffer's memory before learning starts.
        seed: As for DQN; also of a random initial Σ.
        device: As for DQN.
        eta: η, weight of the penalty, or a schedule of the remaining progress. The paper swept 0.1
            to 1 for its sum over actions; 0.3, for the mean over actions, is ours.
        meta_learning_rate: β, learning rate of Σ's Adam, or a schedule. The paper swept 0.001 to
            0.01.
        meta_interval: Updates per outer step; 4 is ours.
        meta_average: Outer steps, each on its own batches, whose gradients are averaged into one
            step of Σ.
        outer_batch_size: Decisions in an outer batch; ``batch_size`` if None.
        meta_gradient: ``"exact"``, or ``"last_layer"`` for only that layer's part, which has less
            than half the extra cost with the Nature CNN.
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
        prioritized_replay: Sample by TD error (arXiv 1511.05952), with annealed importance weights.
        cuda_graph: Replay updates as CUDA graphs: the same updates with one call to the GPU instead
            of hundreds. Needs a GPU, and Adam or AdamW. Not yet tested on a GPU.
        overlap_updates: Run updates while the environments step, as those of `make_macro_vec_env`
            do in their own processes. Decisions then lack the newest updates; those of the last
            step run when `learn` continues.

    Source: arXiv 2506.13690, algorithm 1, on DQN.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }

    conditioned_policies: ClassVar[dict[type[BasePolicy], type[ConditionedPolicy]]] = {
        sb3.MlpPolicy: MlpPolicy,
        sb3.CnnPolicy: CnnPolicy,
        sb3.MultiInputPolicy: MultiInputPolicy,
    }
    value_parts = ("q_net",)

    def __init__(
        self,
        policy: str | type[DQNPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 1e-4,
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
        exploration_fraction: float = 0.1,
        exploration_initial_eps: float = 1.0,
        exploration_final_eps: float = 0.05,
        max_grad_norm: float = 10,
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
        """Pass the arguments on to `MASP`, `MacroLearner` and DQN."""
        super().__init__(**given(locals()))

    @property
    def _network(self) -> nn.Module:
        """The online Q-network."""
        return self.q_net

    @property
    def _target_network(self) -> nn.Module:
        """The target Q-network."""
        return self.q_net_target

    def _td_loss(self, batch: MacroReplaySamples) -> TDLoss:
        """Huber loss towards ``R + γ^τ max_a Q⁻(s′, a)``."""
        with th.no_grad():
            target_q_values = td_target(
                batch.rewards,
                batch.dones,
                self.gamma if batch.discounts is None else batch.discounts,
                self.q_net_target(batch.next_observations),
                self._read(batch.next_observations) if self.double_q else None,
            )
        q_values = self.q_net(batch.observations)
        values = q_values.gather(1, batch.actions.long())
        loss = td_loss(values, target_q_values, batch.weights if self.prioritized_replay else None)
        errors = (target_q_values - values.detach()).flatten()
        return TDLoss(loss, q_values, errors, target_q_values)
