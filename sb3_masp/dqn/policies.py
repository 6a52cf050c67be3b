"""DQN policies whose Q-network can be told which Σ is in force."""

from typing import Any

import torch as th
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import PyTorchObs
from stable_baselines3.dqn import policies as sb3
from torch import Tensor, nn

from sb3_masp.similarity.embedding import EMBEDDINGS, Embedding


class SimilarityQNetwork(sb3.QNetwork):
    """SB3's Q-network with e_Σ concatenated to the state's features.

    Gradients reach W_emb where it is trained, and never Σ: as an input of Q, Σ would become a
    bias to be tuned and learn no similarity (see docs/method.md).

    Args:
        observation_space: Observation space.
        action_space: Action space.
        features_extractor: Turns observations into features.
        features_dim: Their number.
        net_arch: Sizes of the hidden layers.
        activation_fn: Between the layers.
        normalize_images: Whether images are divided by 255.
        embedding_dim: Length of e_Σ, at least 1.
        embedding: ``"factored"`` (fixed) or ``"dense"`` (trained).
    """

    similarity: Tensor

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Discrete,
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        net_arch: list[int] | None = None,
        activation_fn: type[nn.Module] = nn.ReLU,
        normalize_images: bool = True,
        *,
        embedding_dim: int,
        embedding: Embedding = "factored",
    ) -> None:
        """Build SB3's network with ``embedding_dim`` more inputs behind the features."""
        super().__init__(
            observation_space,
            action_space,
            features_extractor,
            features_dim + embedding_dim,
            net_arch,
            activation_fn,
            normalize_images,
        )
        n_actions = int(action_space.n)
        self.similarity_embedding = EMBEDDINGS[embedding](n_actions, embedding_dim)
        self.register_buffer("similarity", th.zeros(n_actions, n_actions))

    def forward(self, obs: PyTorchObs) -> Tensor:
        """Return Q(s, ·), shape ``(batch, actions)``."""
        features = self.extract_features(obs, self.features_extractor)
        embedding = self.similarity_embedding(self.similarity).expand(len(features), -1)
        values: Tensor = self.q_net(th.cat((features, embedding), dim=1))
        return values


class MlpPolicy(sb3.DQNPolicy):
    """SB3's DQN policy, conditioned on Σ unless ``embedding_dim`` is 0.

    Args:
        args: As SB3's.
        embedding_dim: Length of e_Σ; 0 makes it SB3's own network.
        embedding: ``"factored"`` (fixed) or ``"dense"`` (trained).
        kwargs: As SB3's.
    """

    def __init__(
        self,
        *args: Any,
        embedding_dim: int = 0,
        embedding: Embedding = "factored",
        **kwargs: Any,
    ) -> None:
        """Note what `make_q_net` needs, which SB3's constructor calls."""
        self.embedding_dim = embedding_dim
        self.embedding: Embedding = embedding
        super().__init__(*args, **kwargs)

    def make_q_net(self) -> sb3.QNetwork:
        """Return a network of its own, for values or for targets."""
        if self.embedding_dim == 0:
            return super().make_q_net()
        net_args = self._update_features_extractor(self.net_args, features_extractor=None)
        network = SimilarityQNetwork(
            **net_args, embedding_dim=self.embedding_dim, embedding=self.embedding
        )
        return network.to(self.device)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        """Arguments that rebuild the policy."""
        ours = {"embedding_dim": self.embedding_dim, "embedding": self.embedding}
        return super()._get_constructor_parameters() | ours


class CnnPolicy(MlpPolicy, sb3.CnnPolicy):
    """The same for images."""


class MultiInputPolicy(MlpPolicy, sb3.MultiInputPolicy):
    """The same for Dict observations."""
