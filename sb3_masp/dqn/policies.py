"""DQN policies whose Q-network can be conditioned on Σ."""

from stable_baselines3.dqn import policies as sb3

from sb3_masp.conditioning import ConditionedNetwork, ConditionedPolicy


class SimilarityQNetwork(ConditionedNetwork, sb3.QNetwork):
    """SB3's Q-network with e_Σ concatenated to the state's features."""


class MlpPolicy(ConditionedPolicy, sb3.DQNPolicy):
    """SB3's DQN policy, conditioned on Σ unless ``embedding_dim`` is 0."""

    def make_q_net(self) -> sb3.QNetwork:
        """Return a new Q-network, for values or for targets."""
        if self.embedding_dim == 0:
            return super().make_q_net()
        return self._conditioned(SimilarityQNetwork)


class CnnPolicy(MlpPolicy, sb3.CnnPolicy):
    """`MlpPolicy` for images."""


class MultiInputPolicy(MlpPolicy, sb3.MultiInputPolicy):
    """`MlpPolicy` for Dict observations."""
