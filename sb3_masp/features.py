"""Feature extractors for observations that SB3 has none for."""

from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import Tensor


class BytesExtractor(FlattenExtractor):
    """Scales a console's memory to 0..1, since SB3 scales only images."""

    def forward(self, observations: Tensor) -> Tensor:
        """Return the bytes over 255, shape ``(batch, bytes)``."""
        scaled: Tensor = super().forward(observations) / 255.0
        return scaled
