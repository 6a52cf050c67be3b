"""Predictors of returns besides the policy's own values: of weighted sums, and of episodes."""

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
    """v_ψ, which predicts weighted sums, and optionally a predictor that redistributes rewards.

    Args:
        policy: Policy whose architecture v_ψ copies, with its own parameters.
        redistribute: Whether to build the predictor.
    """

    def __init__(self, policy: ActorCriticPolicy, redistribute: bool) -> None:
        """Build the networks."""
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
            Rewards, redistributed if there is a predictor, ``(envs, time)``, detached; and the loss
            of the predictor, if there is one, by name.
        """
        rewards = bootstrapped_rewards(trajectory)
        if self.predictor is None:
            return rewards, {}
        predictions = self.predictor(trajectory)
        loss = F.mse_loss(predictions, stretch_sums(rewards, trajectory))
        return redistributed(predictions.detach(), rewards, trajectory), {"predictor": loss}

    def baseline(self, trajectory: Trajectory, sums: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The baseline of weighted sums.

        Args:
            trajectory: The trajectory of the decisions.
            sums: Weighted sums, ``(envs, time)``, detached.

        Returns:
            v_ψ, ``(envs, time)``, detached; and its loss, by name.
        """
        values: Tensor = self(trajectory.decided).view(sums.shape)
        return values.detach(), {"weighted_value": F.mse_loss(values, sums)}

    def optimizer(self, policy: ActorCriticPolicy, learning_rate: float) -> Optimizer:
        """An optimizer of all parameters, of the policy's class and settings."""
        settings = {"lr": learning_rate} | policy.optimizer_kwargs
        return policy.optimizer_class(self.parameters(), **settings)

    def learners(self) -> Iterator[list[nn.Parameter]]:
        """Parameters of v_ψ and of the predictor, which have separate losses."""
        yield [*self.features.parameters(), *self.value_net.parameters()]
        if self.predictor is not None:
            yield [*self.predictor.parameters()]


def state_features(policy: ActorCriticPolicy) -> StateFeatures:
    """State features extracted as by the policy, with their own parameters."""
    return StateFeatures(
        policy.observation_space,
        policy.features_extractor_class,
        policy.features_extractor_kwargs,
        policy.normalize_images,
    )
