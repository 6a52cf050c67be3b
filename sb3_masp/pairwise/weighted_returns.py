"""What predicts returns beside the policy's own values: of weighted sums, and of episodes."""

from collections.abc import Iterator

from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import create_mlp
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from sb3_masp.pairwise.redistribution import ReturnPredictor, redistributed, stretch_sums
from sb3_masp.pairwise.trajectory import Trajectory, bootstrapped_rewards
from sb3_masp.pairwise.weights import StateFeatures


class WeightedReturns(nn.Module):
    """v_ψ, which predicts weighted sums, and perhaps a predictor by which rewards are moved.

    Args:
        policy: Whose layers v_ψ is given, with parameters of its own.
        redistribute: Whether there is a predictor.
    """

    def __init__(self, policy: ActorCriticPolicy, redistribute: bool) -> None:
        """Build them."""
        super().__init__()
        self.features = state_features(policy)
        arch = (
            policy.net_arch.get("vf", []) if isinstance(policy.net_arch, dict) else policy.net_arch
        )
        layers = create_mlp(self.features.features_dim, 1, arch, policy.activation_fn)
        self.value_net = nn.Sequential(*layers)
        self.predictor = None
        if redistribute:
            self.predictor = ReturnPredictor(state_features(policy), policy.action_space)

    def forward(self, observations: PyTorchObs) -> Tensor:
        """v_ψ(s), shape ``(states,)``."""
        found: Tensor = self.value_net(self.features(observations))
        return found.flatten()

    def credited(self, trajectory: Trajectory) -> tuple[Tensor, dict[str, Tensor]]:
        """The rewards that weights sum.

        Returns:
            Rewards, moved if there is a predictor, ``(envs, time)``, without a graph; and the loss
            that the predictor learns by, if there is one, by name.
        """
        rewards = bootstrapped_rewards(trajectory)
        if self.predictor is None:
            return rewards, {}
        predictions = self.predictor(trajectory)
        loss = F.mse_loss(predictions, stretch_sums(rewards, trajectory))
        return redistributed(predictions.detach(), rewards, trajectory), {"predictor": loss}

    def baseline(self, trajectory: Trajectory, sums: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """What is taken off weighted sums.

        Args:
            trajectory: Of the decisions.
            sums: Theirs, ``(envs, time)``, without a graph.

        Returns:
            v_ψ, ``(envs, time)``, without a graph; and the loss that it learns by, by name.
        """
        values: Tensor = self(trajectory.decided).view(sums.shape)
        return values.detach(), {"weighted_value": F.mse_loss(values, sums)}

    def optimizer(self, policy: ActorCriticPolicy, learning_rate: float) -> Optimizer:
        """An optimizer of all parameters, of the policy's kind and settings."""
        settings = {"lr": learning_rate} | policy.optimizer_kwargs
        return policy.optimizer_class(self.parameters(), **settings)

    def learners(self) -> Iterator[list[nn.Parameter]]:
        """Parameters of v_ψ and of the predictor, which have a loss each."""
        yield [*self.features.parameters(), *self.value_net.parameters()]
        if self.predictor is not None:
            yield [*self.predictor.parameters()]


def state_features(policy: ActorCriticPolicy) -> StateFeatures:
    """What reads a state as the policy does, with parameters of its own."""
    return StateFeatures(
        policy.observation_space,
        policy.features_extractor_class,
        policy.features_extractor_kwargs,
        policy.normalize_images,
    )
