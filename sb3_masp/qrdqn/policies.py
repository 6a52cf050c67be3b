"""QR-DQN policies whose quantile network can be conditioned on Σ."""

from sb3_contrib.qrdqn import policies as contrib

from sb3_masp.conditioning import ConditionedNetwork, ConditionedPolicy


class SimilarityQuantileNetwork(ConditionedNetwork, contrib.QuantileNetwork):
    """sb3-contrib's quantile network with e_Σ concatenated to the state's features."""


class MlpPolicy(ConditionedPolicy, contrib.QRDQNPolicy):
    """sb3-contrib's QR-DQN policy, conditioned on Σ unless ``embedding_dim`` is 0."""

    def make_quantile_net(self) -> contrib.QuantileNetwork:
        """Return a new quantile network, for values or for targets."""
        if self.embedding_dim == 0:
            return super().make_quantile_net()
        return self._conditioned(SimilarityQuantileNetwork)


class CnnPolicy(MlpPolicy, contrib.CnnPolicy):
    """`MlpPolicy` for images."""


class MultiInputPolicy(MlpPolicy, contrib.MultiInputPolicy):
    """`MlpPolicy` for Dict observations."""
