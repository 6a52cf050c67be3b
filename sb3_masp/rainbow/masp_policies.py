"""Rainbow policies whose network can be conditioned on Σ."""

from sb3_masp.conditioning import ConditionedNetwork, ConditionedPolicy
from sb3_masp.rainbow import policies as plain


class SimilarityRainbowNetwork(ConditionedNetwork, plain.RainbowNetwork):
    """Rainbow's network with e_Σ concatenated to the state's features."""


class MlpPolicy(ConditionedPolicy, plain.MlpPolicy):
    """Rainbow's policy, conditioned on Σ unless ``embedding_dim`` is 0."""

    def make_q_net(self) -> plain.RainbowNetwork:
        """Return a new network, for values or for targets."""
        if self.embedding_dim == 0:
            return super().make_q_net()
        return self._conditioned(SimilarityRainbowNetwork)


class CnnPolicy(MlpPolicy, plain.CnnPolicy):
    """`MlpPolicy` for images."""


class MultiInputPolicy(MlpPolicy, plain.MultiInputPolicy):
    """`MlpPolicy` for Dict observations."""
