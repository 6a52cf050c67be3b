"""Networks and policies that are conditioned on Σ."""

from typing import Any, TypeVar

import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor

from sb3_masp.similarity.embedding import EMBEDDINGS, Embedding


class ConditionedNetwork(BasePolicy):
    """Concatenates e_Σ to the state's features, in front of an SB3 network.

    Gradients reach W_emb if it is trained, but never Σ: as an input of Q, Σ would become a trained
    bias and learn no similarity (see docs/method.md).

    Args:
        args: As for the network, from ``net_arch`` on.
        action_space: Action space.
        features_dim: Number of the state's features.
        embedding_dim: Length of e_Σ, at least 1.
        embedding: ``"factored"`` (fixed) or ``"dense"`` (trained).
        kwargs: As for the network.
    """

    def __init__(
        self,
        *args: Any,
        action_space: spaces.Discrete,
        features_dim: int,
        embedding_dim: int,
        embedding: Embedding = "factored",
        **kwargs: Any,
    ) -> None:
        """Build the network with ``embedding_dim`` more inputs after the features."""
        super().__init__(
            *args, action_space=action_space, features_dim=features_dim + embedding_dim, **kwargs
        )
        n_actions = int(action_space.n)
        self.similarity_embedding = EMBEDDINGS[embedding](n_actions, embedding_dim)

    def extract_features(
        self, obs: PyTorchObs, features_extractor: BaseFeaturesExtractor
    ) -> Tensor:
        """Return the state's features and e_Σ, shape ``(batch, features + embedding)``."""
        features = super().extract_features(obs, features_extractor)
        embedding = self.similarity_embedding().expand(len(features), -1)
        return th.cat((features, embedding), dim=1)


Network = TypeVar("Network", bound=ConditionedNetwork)


class ConditionedPolicy(BasePolicy):
    """Builds conditioned networks for an SB3 policy unless ``embedding_dim`` is 0.

    Args:
        args: As for the policy.
        embedding_dim: Length of e_Σ; 0 leaves the policy's own networks. The learner sets it.
        embedding: ``"factored"`` (fixed) or ``"dense"`` (trained). The learner sets it.
        kwargs: As for the policy.
    """

    net_args: dict[str, Any]

    def __init__(
        self,
        *args: Any,
        embedding_dim: int = 0,
        embedding: Embedding = "factored",
        **kwargs: Any,
    ) -> None:
        """Store what the networks need before the policy's constructor builds them."""
        self.embedding_dim = embedding_dim
        self.embedding: Embedding = embedding
        super().__init__(*args, **kwargs)

    def _conditioned(self, network: type[Network]) -> Network:
        """A new network, for values or for targets."""
        net_args = self._update_features_extractor(self.net_args, features_extractor=None)
        conditioned = network(
            **net_args, embedding_dim=self.embedding_dim, embedding=self.embedding
        )
        return conditioned.to(self.device)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        """Arguments that rebuild the policy."""
        ours = {"embedding_dim": self.embedding_dim, "embedding": self.embedding}
        return super()._get_constructor_parameters() | ours
