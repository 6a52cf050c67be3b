"""Features of observations that SB3 has no extractor for."""

from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import Tensor


class BytesExtractor(FlattenExtractor):
    """A console's memory as numbers within 0..1: SB3 scales images only."""

    def forward(self, observations: Tensor) -> Tensor:
        """Return the bytes over 255, shape ``(batch, bytes)``."""
        scaled: Tensor = super().forward(observations) / 255.0
        return scaled
