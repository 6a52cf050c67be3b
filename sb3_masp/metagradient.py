"""The outer step's gradient, exact and without double backward: pure functions on tensors.

The inner step is θ′ = θ + u(clip(∇_θ(TD + η L))), and Σ enters it only through the penalty L. So
∇_Σ L_outer(θ′) = ∇_Σ ⟨v, ∇_θ η L(θ, Σ)⟩, where v is ∇_θ′ L_outer pulled back through the
optimizer's step and the clipping; and that inner product is the derivative of the penalty along
v, which one forward-mode pass of the network turns into a small expression in Q, Q̇ and Σ.
"""

from collections.abc import Callable, Sequence

from torch import Tensor

from sb3_masp.forward_mode import Parameters, network_tangent
from sb3_masp.losses import Mixer, Reduction, similarity_penalty_tangent


def meta_loss(
    network: Callable[[Parameters], Tensor],
    parameters: Parameters,
    cotangents: Parameters,
    mix: Mixer,
    eta: float | Tensor,
    reduction: Reduction = "mean",
    outputs: Sequence[Tensor] = (),
) -> Tensor:
    """A scalar whose gradient with respect to Σ is that of the outer loss.

    Args:
        network: Q(s, ·) of the *inner* batch as a function of the parameters, to shape
            ``(batch, actions)``; its other inputs, above all e_Σ, are held fixed.
        parameters: θ, before the inner step.
        cotangents: v, the outer loss's gradient pulled back to the gradient before clipping.
        mix: ``Q ↦ ΣQ``, as for `similarity_penalty`, differentiable in Σ's parameters.
        eta: η of the inner step.
        reduction: Reduction of the penalty in the inner step.
        outputs: Outputs of the network's linear maps in the inner step, if recorded; see
            `network_tangent`.

    Returns:
        η times the derivative of the penalty along v, shape ``()``; only its gradient matters.

    Source: arXiv 2506.13690, algorithm 1, lines 13-18, by forward mode.
    """
    q_values, q_tangents = network_tangent(network, parameters, cotangents, outputs)
    return eta * similarity_penalty_tangent(q_values, q_tangents, mix, reduction)
