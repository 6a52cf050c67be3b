"""State features for weights: extracted as by the policy, with their own parameters."""

from typing import Any

from gymnasium import spaces
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.type_aliases import PyTorchObs
from torch import Tensor, nn


class StateFeatures(nn.Module):
    """Features of observations, preprocessed as in SB3's policies.

    Args:
        observation_space: Space of the observations.
        extractor: Class of the features extractor.
        extractor_kwargs: Its arguments.
        normalize_images: Whether images are divided by 255.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        extractor: type[BaseFeaturesExtractor],
        extractor_kwargs: dict[str, Any] | None = None,
        normalize_images: bool = True,
    ) -> None:
        """Build the extractor."""
        super().__init__()
        self.observation_space = observation_space
        self.normalize_images = normalize_images
        self.extractor = extractor(observation_space, **(extractor_kwargs or {}))

    @property
    def features_dim(self) -> int:
        """Length of the features."""
        return self.extractor.features_dim

    def forward(self, observations: PyTorchObs) -> Tensor:
        """Features, shape ``(states, features)``."""
        seen = preprocess_obs(observations, self.observation_space, self.normalize_images)
        features: Tensor = self.extractor(seen)
        return features
