"""What predicts returns beside the policy's own values: of weighted sums, and of episodes."""

from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import create_mlp
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor, nn

from sb3_masp.pairwise.redistribution import ReturnPredictor
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


def state_features(policy: ActorCriticPolicy) -> StateFeatures:
    """What reads a state as the policy does, with parameters of its own."""
    return StateFeatures(
        policy.observation_space,
        policy.features_extractor_class,
        policy.features_extractor_kwargs,
        policy.normalize_images,
    )
