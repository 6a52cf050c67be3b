"""Linear layers with learned, factorised Gaussian noise: exploration that the network controls."""

import torch as th
from torch import Tensor, nn
from torch.nn import functional as F


def scaled_noise(noise: Tensor) -> Tensor:
    """``f(x) = sgn(x) √|x|``, applied to each factor of the noise.

    Source: arXiv 1706.10295, below equation 11.
    """
    return noise.sign() * noise.abs().sqrt()


class NoisyLinear(nn.Linear):
    """``y = (μ_w + σ_w ⊙ ε_out ε_inᵀ) x + μ_b + σ_b ⊙ ε_out``, with μ and σ learned.

    Noise is only drawn by `draw_noise` and held until it is drawn again, so that all evaluations
    in between see the same function. ``weight`` and ``bias`` are μ.

    Args:
        in_features: Length of x.
        out_features: Length of y.
        noise_scale: σ₀; σ starts at ``σ₀/√in_features``.

    Source: arXiv 1706.10295, equations 9 to 11; initial values: its section 3.2.
    """

    noise_in: Tensor
    noise_out: Tensor

    def __init__(self, in_features: int, out_features: int, noise_scale: float = 0.5) -> None:
        """Initialise μ uniformly within ``±1/√in_features``, as in the paper, and draw noise."""
        super().__init__(in_features, out_features)
        width = in_features**-0.5
        nn.init.uniform_(self.weight, -width, width)
        nn.init.uniform_(self.bias, -width, width)
        self.weight_sigma = nn.Parameter(th.full_like(self.weight, noise_scale * width))
        self.bias_sigma = nn.Parameter(th.full_like(self.bias, noise_scale * width))
        self.register_buffer("noise_in", th.empty(in_features))
        self.register_buffer("noise_out", th.empty(out_features))
        self.draw_noise()

    def draw_noise(self) -> None:
        """Draw both factors anew, from torch's default generator."""
        for factor in (self.noise_in, self.noise_out):
            factor.copy_(scaled_noise(factor.normal_()))

    def forward(self, inputs: Tensor, noise: bool = True) -> Tensor:
        """Return y.

        Args:
            inputs: x, shape ``(batch, in_features)``.
            noise: Whether to apply the current noise, or use μ alone.

        Returns:
            Shape ``(batch, out_features)``.
        """
        means = super().forward(inputs)
        if not noise:
            return means
        # The noisy weights are never formed: a second product with the factors at its ends is
        # cheaper, forwards and backwards, than writing millions of products to memory.
        spread = F.linear(inputs * self.noise_in, self.weight_sigma, self.bias_sigma)
        return th.addcmul(means, spread, self.noise_out)
