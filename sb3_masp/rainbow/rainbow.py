"""Rainbow: deep Q-learning with six improvements, each of which can be switched off."""

from typing import Any, ClassVar, cast

import torch as th
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from stable_baselines3.common.utils import ConstantSchedule
from stable_baselines3.dqn import policies as sb3
from torch import Tensor

from sb3_masp.buffers import MacroReplaySamples
from sb3_masp.losses import td_loss
from sb3_masp.macro_learner import MacroLearner, TDLoss
from sb3_masp.macro_model import given, require_setting, with_own
from sb3_masp.rainbow.losses import categorical_losses, categorical_target
from sb3_masp.rainbow.policies import CnnPolicy, MlpPolicy, MultiInputPolicy, RainbowNetwork

NETWORK_SETTINGS = (
    "noisy",
    "dueling",
    "distributional",
    "n_atoms",
    "v_min",
    "v_max",
    "noise_scale",
)
"""Arguments of the learner that are passed to its network."""

RAINBOW_POLICIES: dict[type[sb3.DQNPolicy], type[sb3.DQNPolicy]] = {
    sb3.MlpPolicy: MlpPolicy,
    sb3.CnnPolicy: CnnPolicy,
    sb3.MultiInputPolicy: MultiInputPolicy,
}
"""Maps SB3's policy classes to Rainbow's, which replace them when given as a class."""


class Rainbow(MacroLearner, DQN):
    """Double, dueling, noisy, distributional, n-step and prioritised deep Q-learning.

    Each of the six is switched off by one argument: ``double_q=False``, ``dueling=False``,
    ``noisy=False`` (which brings back DQN's ε-greedy exploration), ``distributional=False``,
    ``n_steps=1``, ``prioritized_replay=False``. On macro environments, rewards within a decision
    are discounted per primitive step and the bootstrap by γ^τ.

    With all six off, it equals SB3's DQN, weight for weight, if all else is DQN's too: its
    hyper-parameters, ``clip_rewards=False`` and, in ``policy_kwargs``, its Adam,
    ``optimizer_kwargs={"eps": 1e-8, "fused": False}``, and for images its network,
    ``features_extractor_class=NatureCNN``.

    The defaults are those of Hessel et al. (2018), table 1 and appendix. What the paper counts in
    frames, four per step, is given here in steps, and a decision of a macro environment counts as
    one:

    ==================================  ==========================================================
    Adam                                learning rate 6.25e-5, ε = 1.5e-4
    first update, updates               after 20,000 steps (80,000 frames), then every 4
    batch, γ, n                         32, 0.99, 3
    target network                      copied every 8,000 steps (32,000 frames)
    distributions                       51 atoms within −10..10
    noisy layers                        σ₀ = 0.5, no ε-greedy exploration
    replay                              1,000,000 decisions, prioritised with α = 0.5 and β from
                                        0.4 to 1 over the run
    rewards                             clipped to [−1, 1] in games (``clip_rewards``)
    network                             Nature's convolutions, streams of 512 hidden units
    ==================================  ==========================================================

    Two differ: gradients are clipped at norm 10, as in SB3's DQN; and without noisy layers, ε falls
    to 0.01 over SB3's share of the run, not over the first 250,000 frames. Priorities are the
    losses, Kullback-Leibler divergences, as in the paper.

    Args:
        policy: ``"MlpPolicy"``, ``"CnnPolicy"``, ``"MultiInputPolicy"`` or a class.
        env: The environment, or its id.
        learning_rate: As for DQN.
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
        n_steps: n, decisions in an n-step return.
        target_update_interval: Decisions between updates of the target network.
        exploration_fraction: As for DQN; used without noisy layers only.
        exploration_initial_eps: As for DQN; used without noisy layers only.
        exploration_final_eps: As for DQN; used without noisy layers only.
        max_grad_norm: As for DQN.
        stats_window_size: As for DQN.
        tensorboard_log: As for DQN.
        policy_kwargs: As for DQN.
        verbose: As for DQN; from 1 on, also prints the buffer's memory before learning starts.
        seed: As for DQN.
        device: As for DQN.
        double_q: Let the online network choose the target's action (arXiv 1509.06461).
        dueling: Use separate streams for values and advantages (arXiv 1511.06581).
        noisy: Explore by noise in the linear layers (arXiv 1706.10295), drawn anew for every
            update and every action; ``predict(deterministic=True)`` acts without it.
        distributional: Learn distributions of returns, C51 (arXiv 1707.06887).
        prioritized_replay: Sample by loss (arXiv 1511.05952), with annealed importance weights.
        n_atoms: Number of atoms of the distributions.
        v_min: Lowest atom. Returns below it are clipped to it, so if rewards are not clipped, set
            both ends to the range of discounted returns.
        v_max: Highest atom.
        noise_scale: σ₀, initial scale of the noisy layers' σ.
        clip_rewards: Clip each primitive's reward to [-1, 1] before discounting; None does so
            for MacroALE and MacroRetro, whose rewards are game scores.
        cuda_graph: As for `MASPDQN`.
        overlap_updates: As for `MASPDQN`.

    Raises:
        LearnerSettingError: A setting is out of range.

    Source: Hessel et al. (2018), arXiv 1710.02298.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }

    kept_at_loading: ClassVar[tuple[str, ...]] = NETWORK_SETTINGS

    q_net: RainbowNetwork
    q_net_target: RainbowNetwork

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
        cuda_graph: bool = False,
        overlap_updates: bool = False,
    ) -> None:
        """Pass the network its settings, and `MacroLearner` and DQN the rest."""
        arguments = given(locals())
        network = {name: arguments.pop(name) for name in NETWORK_SETTINGS}
        require_setting("n_atoms", n_atoms, n_atoms >= 2, "2, 3, 4, ...")
        require_setting("v_max", v_max, v_max > v_min, f"above v_min, {v_min}")
        require_setting("noise_scale", noise_scale, noise_scale >= 0, "at least 0")
        if not isinstance(policy, str):
            arguments["policy"] = _ours(policy)
        own = {"network_kwargs": network}
        arguments["policy_kwargs"] = with_own(policy_kwargs, own, NETWORK_SETTINGS)
        super().__init__(**arguments)

    @property
    def _is_sb3s(self) -> bool:
        """Whether the network has none of Rainbow's parts, which leaves SB3's DQN."""
        return not (self.q_net.noisy or self.q_net.dueling or self.q_net.distributional)

    @property
    def _network(self) -> RainbowNetwork:
        """The online network."""
        return self.q_net

    @property
    def _target_network(self) -> RainbowNetwork:
        """The target network."""
        return self.q_net_target

    def _setup_model(self) -> None:
        """Build DQN; noisy networks explore without ε."""
        super()._setup_model()
        if self.q_net.noisy:
            self.exploration_schedule = ConstantSchedule(0.0)

    def _buffer_settings(self) -> dict[str, Any]:
        """Buffer arguments that follow from the learner's settings."""
        settings = super()._buffer_settings()
        return settings | {"priority_exponent": 0.5} if self.prioritized_replay else settings

    def _begin_update(self) -> None:
        """Draw the noise of both networks, held for the whole update."""
        self._run(self._draw_noise)

    def _draw_noise(self) -> None:
        """The device part of `_begin_update`."""
        self.q_net.draw_noise()
        self.q_net_target.draw_noise()

    def _td_loss(self, batch: MacroReplaySamples) -> TDLoss:
        """Divergence from ``R + γ^τ Z⁻(s′, a′)``, or DQN's loss without distributions."""
        rows = th.arange(len(batch.actions), device=self.device)
        logits = self.q_net.logits(batch.observations)
        chosen = logits[rows, batch.actions.flatten()]
        with th.no_grad():
            next_logits = self.q_net_target.logits(batch.next_observations)
            best = self._selection_values(batch, next_logits).argmax(dim=1)
            targets = self._targets(batch, next_logits[rows, best])
        weights = batch.weights if self.prioritized_replay else None
        q_values = self.q_net.expected_values(logits)
        if not self.q_net.distributional:
            loss = td_loss(chosen, targets, weights)
            return TDLoss(loss, q_values, (targets - chosen.detach()).flatten(), targets)
        losses = categorical_losses(chosen.log_softmax(dim=1), targets)
        weighted = losses if weights is None else weights.flatten() * losses
        expected = (targets @ self.q_net.support)[:, None]
        return TDLoss(weighted.mean(), q_values, losses.detach(), expected)

    def _selection_values(self, batch: MacroReplaySamples, next_logits: Tensor) -> Tensor:
        """Values whose argmax is a′: the online network's, or the target's own."""
        if self.double_q:
            return self._read(batch.next_observations)
        return self.q_net_target.expected_values(next_logits)

    def _targets(self, batch: MacroReplaySamples, next_logits: Tensor) -> Tensor:
        """Distribution of ``R + γ^τ Z⁻(s′, a′)``, or its value as one atom."""
        discounts = self.gamma if batch.discounts is None else batch.discounts
        if not self.q_net.distributional:
            return batch.rewards + (1 - batch.dones) * discounts * next_logits
        probabilities, support = next_logits.softmax(dim=1), self.q_net.support
        return categorical_target(batch.rewards, batch.dones, discounts, probabilities, support)


def _ours(policy: type[sb3.DQNPolicy]) -> type[MlpPolicy]:
    """The policy with Rainbow's network that replaces one of SB3's.

    Raises:
        LearnerSettingError: There is none.
    """
    policy = RAINBOW_POLICIES.get(policy, policy)
    ours = issubclass(policy, MlpPolicy)
    require_setting("policy", policy.__name__, ours, "derived from a policy of sb3_masp.rainbow")
    return cast(type[MlpPolicy], policy)
