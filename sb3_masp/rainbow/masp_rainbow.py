"""MASPRainbow: Rainbow that shares credit among similar actions."""

from typing import Any, ClassVar, Literal

import torch as th
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from stable_baselines3.dqn import policies as sb3

from sb3_masp.conditioning import ConditionedPolicy
from sb3_masp.losses import Reduction
from sb3_masp.macro_model import given
from sb3_masp.masp import MASP
from sb3_masp.rainbow import policies as plain
from sb3_masp.rainbow.masp_policies import CnnPolicy, MlpPolicy, MultiInputPolicy
from sb3_masp.rainbow.rainbow import Rainbow
from sb3_masp.similarity import Similarity
from sb3_masp.similarity.initial import Start
from sb3_masp.similarity_learning import SimilarityLearning


class MASPRainbow(MASP, Rainbow):
    """Rainbow plus the Macro-Action Similarity Penalty ``η‖Q(s,·) − ΣQ(s,·)‖²``, as in the paper.

    The penalty acts on expected values, the means of the distributions. Noise is drawn once per
    update and held through the inner step, its derivative and the outer step, so that all of them
    see the same function. With ``eta=0`` and ``embedding_dim=0`` it equals `Rainbow`, weight for
    weight. Its defaults are those of `Rainbow`.

    Args:
        policy: ``"MlpPolicy"``, ``"CnnPolicy"``, ``"MultiInputPolicy"`` or a class.
        env: The environment, or its id.
        learning_rate: As for Rainbow.
        buffer_size: Capacity in decisions; a million take 0.7 GiB on Breakout, compressed.
        learning_starts: Random decisions before the first update.
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
        exploration_fraction: As for DQN; used without noisy layers only.
        exploration_initial_eps: As for DQN; used without noisy layers only.
        exploration_final_eps: As for DQN; used without noisy layers only.
        max_grad_norm: As for DQN.
        stats_window_size: As for DQN.
        tensorboard_log: As for DQN.
        policy_kwargs: As for DQN.
        verbose: As for DQN; from 1 on, also prints the buffer's memory before learning starts.
        seed: As for DQN; also of a random initial Σ.
        device: As for DQN.
        double_q: As for Rainbow, like the next nine.
        dueling: Use separate streams for values and advantages.
        noisy: Explore by noise in the linear layers.
        distributional: Learn distributions of returns, C51.
        prioritized_replay: Sample by loss, with annealed importance weights.
        n_atoms: Number of atoms of the distributions.
        v_min: Lowest atom.
        v_max: Highest atom.
        noise_scale: σ₀, initial scale of the noisy layers' σ.
        clip_rewards: Clip each primitive's reward to [-1, 1] before discounting; None does so
            for MacroALE and MacroRetro, whose rewards are game scores.
        eta: η, weight of the penalty, or a schedule; see `MASPDQN`.
        meta_learning_rate: β, learning rate of Σ's Adam, or a schedule.
        meta_interval: Updates per outer step.
        meta_average: Outer steps, each on its own batches, whose gradients are averaged into one
            step of Σ.
        outer_batch_size: Decisions in an outer batch; ``batch_size`` if None.
        meta_gradient: ``"exact"``, or ``"last_layer"`` for only the part of the last layers of both
            streams, at less cost.
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
        cuda_graph: As for `MASPDQN`.
        overlap_updates: As for `MASPDQN`.

    Source: arXiv 2506.13690 on arXiv 1710.02298.
    """

    kept_at_loading: ClassVar[tuple[str, ...]] = (
        *MASP.kept_at_loading,
        *Rainbow.kept_at_loading,
    )

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }
    conditioned_policies: ClassVar[dict[type[BasePolicy], type[ConditionedPolicy]]] = {
        plain.MlpPolicy: MlpPolicy,
        plain.CnnPolicy: CnnPolicy,
        plain.MultiInputPolicy: MultiInputPolicy,
        sb3.MlpPolicy: MlpPolicy,
        sb3.CnnPolicy: CnnPolicy,
        sb3.MultiInputPolicy: MultiInputPolicy,
    }
    value_parts = ("advantages", "values")

    def __init__(
        self,
        policy: str | type[sb3.DQNPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 6.25e-5,
        buffer_size: int = 1_000_000,
        learning_starts: int = 20_000,
        batch_size: int = 32,
        tau: float = 1.0,
        gamma: float = 0.99,
        train_freq: int | tuple[int, str] = (4, "decision"),
        gradient_steps: int = 1,
        replay_buffer_class: type[ReplayBuffer] | None = None,
        replay_buffer_kwargs: dict[str, Any] | None = None,
        optimize_memory_usage: bool = False,
        n_steps: int = 3,
        target_update_interval: int = 8_000,
        exploration_fraction: float = 0.1,
        exploration_initial_eps: float = 1.0,
        exploration_final_eps: float = 0.01,
        max_grad_norm: float = 10,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
        *,
        double_q: bool = True,
        dueling: bool = True,
        noisy: bool = True,
        distributional: bool = True,
        prioritized_replay: bool = True,
        n_atoms: int = 51,
        v_min: float = -10.0,
        v_max: float = 10.0,
        noise_scale: float = 0.5,
        clip_rewards: bool | None = None,
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
        cuda_graph: bool = False,
        overlap_updates: bool = False,
    ) -> None:
        """Pass the arguments on to `MASP` and `Rainbow`."""
        super().__init__(**given(locals()))
