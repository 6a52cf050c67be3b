"""Trajectories of random numbers, and an actor-critic in float64."""

import torch as th
from torch import nn

from sb3_masp.pairwise.trajectory import Trajectory

OBSERVED, ACTIONS = 3, 5


def trajectory(seed=0, envs=2, time=7, n_states=None, durations=False):
    """An episode of the first environment ends within the rollout, and is cut off by no limit."""
    generator = th.Generator().manual_seed(seed)

    def normal(*shape):
        return th.randn(*shape, dtype=th.float64, generator=generator)

    def whole(below, *shape):
        return th.randint(below, shape, generator=generator)

    last = th.zeros(envs, time, dtype=th.bool)
    last[0, time // 2] = True
    terminated = last.clone()
    last[:, -1] = True
    lasted = whole(4, envs, time) + 1 if durations else th.ones(envs, time, dtype=th.long)
    clock = th.zeros(envs, time, dtype=th.long)
    for env in range(envs):
        for t in range(1, time):
            goes_on = not last[env, t - 1]
            clock[env, t] = (clock[env, t - 1] + lasted[env, t - 1]) * goes_on
    n_ends = int(last.sum())
    arrivals = th.arange(envs * time).view(envs, time) + 1
    arrivals[last] = envs * time + th.arange(n_ends)
    shown = envs * time + n_ends
    observations = whole(n_states, shown, 1) if n_states else normal(shown, OBSERVED)
    values = normal(envs, time)
    next_values = th.cat([values[:, 1:], normal(envs, 1)], dim=1)
    next_values[terminated] = 0
    return Trajectory(
        observations=observations,
        actions=whole(ACTIONS, envs * time),
        arrivals=arrivals,
        rewards=normal(envs, time),
        discounts=0.9 ** lasted.double() * ~terminated,
        values=values,
        next_values=next_values,
        clock=clock,
        durations=lasted,
        last=last,
        advantages=normal(envs, time),
        returns=normal(envs, time),
    )


class Policy(nn.Module):
    """An actor-critic that shares a layer; one of its units is dead."""

    def __init__(self, seed=0):
        super().__init__()
        with th.random.fork_rng():
            th.manual_seed(seed)
            self.trunk = nn.Linear(OBSERVED, 7).double()
            self.actor = nn.Linear(7, ACTIONS).double()
            self.critic = nn.Linear(7, 1).double()
        with th.no_grad():
            self.trunk.bias[0] = -100

    def evaluate_actions(self, observations, actions):
        found = self.get_distribution(observations)
        entropy = -(found.log_probs.exp() * found.log_probs).sum(dim=1)
        values = self.critic(self.trunk(observations).relu()).flatten()
        return values, found.log_prob(actions), entropy

    def get_distribution(self, observations):
        return Distribution(self.actor(self.trunk(observations).relu()).log_softmax(dim=1))


class Distribution:
    """Of actions, by the logarithms of their probabilities."""

    def __init__(self, log_probs):
        self.log_probs = log_probs

    def log_prob(self, actions):
        return self.log_probs.gather(1, actions[:, None])[:, 0]
