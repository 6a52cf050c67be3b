"""A DQN as in CleanRL's ``dqn_atari.py``, for `benchmarks.gpu_throughput`.

CleanRL publishes scripts, not a library, so its loop is re-implemented here from what that script
computes (commit fe8d8a03), not copied. It agrees with the script in the network (the Nature CNN,
including layer sizes), in replay (SB3's ``ReplayBuffer`` with shared observations), in exploration
(one draw decides for all environments), in the squared error without gradient clipping, in torch's
Adam, in the full copy to the target network, and in reading the loss every hundredth decision. The
script refuses more than one environment; here there can be any number, with as many updates per
decision as with one.
"""

from typing import Any

import numpy as np
import torch as th
from gymnasium.vector import VectorEnv
from stable_baselines3.common.buffers import ReplayBuffer
from torch import Tensor, nn
from torch.nn import functional as F

TARGET_INTERVAL = 1000
LOG_INTERVAL = 100


class NatureNetwork(nn.Module):
    """Q-network on stacks of four frames.

    Args:
        n_actions: Number of actions.
    """

    def __init__(self, n_actions: int) -> None:
        """Build the layers."""
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(4, 32, 8, stride=4), nn.ReLU()),
            *(nn.Conv2d(32, 64, 4, stride=2), nn.ReLU()),
            *(nn.Conv2d(64, 64, 3, stride=1), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, n_actions)),
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Return Q(s, ·), shape ``(batch, actions)``, for bytes of shape ``(batch, 4, 84, 84)``."""
        values: Tensor = self.layers(frames / 255.0)
        return values


class SingleFileDQN:
    """The script's state before its loop; `step` is one iteration of the loop.

    Args:
        envs: Environments that reset in the step that ends an episode.
        buffer_size: Capacity in decisions.
        batch_size: Decisions in a batch.
        decisions_per_update: Decisions between updates.
        epsilon: Share of random actions.
        device: Device of the networks.
    """

    def __init__(
        self,
        envs: VectorEnv[Any, Any, Any],
        buffer_size: int,
        batch_size: int,
        decisions_per_update: int,
        epsilon: float,
        device: th.device,
    ) -> None:
        """Build networks, optimizer and replay, and reset the environments."""
        self.envs, self.device = envs, device
        self.batch_size, self.decisions_per_update = batch_size, decisions_per_update
        self.epsilon, self.n_actions = epsilon, int(envs.single_action_space.n)
        self.online = NatureNetwork(self.n_actions).to(device)
        self.target = NatureNetwork(self.n_actions).to(device)
        self.target.load_state_dict(self.online.state_dict())
        self.optimizer = th.optim.Adam(self.online.parameters(), lr=1e-4)
        spaces = envs.single_observation_space, envs.single_action_space
        self.replay = ReplayBuffer(
            buffer_size, *spaces, device, envs.num_envs, True, handle_timeout_termination=False
        )
        self.decisions, self.updates, self.loss = 0, 0, 0.0
        self.rng = np.random.default_rng(0)
        self.observations, _ = envs.reset(seed=0)

    def step(self, learn: bool = True) -> None:
        """Take one decision in every environment, and the updates that are due."""
        actions = self._actions()
        observations, rewards, ended, cut, info = self.envs.step(actions)
        after = observations.copy()
        if "final_obs" in info:
            after[ended | cut] = info["final_obs"][ended | cut]
        self.replay.add(self.observations, after, actions, rewards, ended, [{}] * len(actions))
        self.observations = observations
        before, self.decisions = self.decisions, self.decisions + len(actions)
        if learn:
            ratio = self.decisions_per_update
            for _ in range(self.decisions // ratio - before // ratio):
                self.update()
        if self.decisions // TARGET_INTERVAL != before // TARGET_INTERVAL:
            self.target.load_state_dict(self.online.state_dict())

    def update(self) -> None:
        """Take one gradient step on a batch."""
        batch: Any = self.replay.sample(self.batch_size)
        with th.no_grad():
            best = self.target(batch.next_observations).max(dim=1).values
            targets = batch.rewards.flatten() + 0.99 * best * (1 - batch.dones.flatten())
        values = self.online(batch.observations).gather(1, batch.actions).squeeze()
        loss = F.mse_loss(targets, values)
        if self.updates % (LOG_INTERVAL // self.decisions_per_update or 1) == 0:
            self.loss = loss.item()
        self.optimizer.zero_grad()
        th.autograd.backward(loss)
        self.optimizer.step()
        self.updates += 1

    def _actions(self) -> np.ndarray:
        """Choose all actions at random, or all greedily."""
        if self.rng.random() < self.epsilon:
            return self.rng.integers(self.n_actions, size=len(self.observations))
        values = self.online(th.tensor(self.observations, device=self.device))
        return values.argmax(dim=1).cpu().numpy()
