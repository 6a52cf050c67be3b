"""Directional derivative of a network's output in its parameters, by one forward-mode pass.

Linear maps take most of a network's time, and forward mode computes each one's value and two more
maps. If the network has been evaluated before at the same parameters and inputs, those values need
not be computed again: `LinearMaps` records them, and `network_tangent` reuses them.
"""

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch as th
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from macro_gym.errors import MacroGymError

Parameters = Mapping[str, Tensor]

make_dual: Callable[[Tensor, Tensor], Tensor] = forward_ad.make_dual
unpack_dual: Callable[[Tensor], tuple[Tensor, Tensor | None]] = forward_ad.unpack_dual

LINEAR_MAPS = (F.linear, th.conv1d, th.conv2d, th.conv3d)
"""Linear in inputs and in weights, and called as ``(input, weight, bias, *settings)``."""


class UnsupportedNetworkError(MacroGymError, NotImplementedError):
    """A network that torch cannot differentiate in forward mode."""


class LinearMaps(TorchFunctionMode):
    """Context that records the outputs of differentiated linear maps, in order."""

    def __init__(self) -> None:
        """Start without outputs."""
        super().__init__()
        self.outputs: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call ``func``, and record the output of a linear map."""
        output = func(*args, **(kwargs or {}))
        if func in LINEAR_MAPS and th.is_grad_enabled():
            self.outputs.append(output.detach())
        return output


def network_tangent(
    network: Callable[[Parameters], Tensor],
    parameters: Parameters,
    tangents: Parameters,
    outputs: Sequence[Tensor] = (),
) -> tuple[Tensor, Tensor]:
    """Value of ``network(parameters)`` and its derivative along ``tangents``.

    Args:
        network: A differentiable function of named parameters.
        parameters: Where to evaluate it.
        tangents: Direction, for some or all of the parameters.
        outputs: Outputs of its linear maps at these parameters, as recorded by `LinearMaps`; they
            are recomputed if none are given.

    Returns:
        The value and its directional derivative, of the same shape, both detached.

    Raises:
        UnsupportedNetworkError: Torch has no forward derivative of an operation of the network.
    """
    _load_forward_mode()
    with forward_ad.dual_level(), _Tangents(outputs) if outputs else nullcontext():
        point = {name: value.detach() for name, value in parameters.items()}
        moving = {name: make_dual(point[name], tangent) for name, tangent in tangents.items()}
        try:
            value, tangent = unpack_dual(network(point | moving))
        except NotImplementedError as error:
            said = str(error).partition("\n")[0]
            raise UnsupportedNetworkError(
                "meta-gradients go through the network in forward mode, which some layers do not "
                f"support, such as those with weight_norm or spectral_norm; torch says {said!r}. "
                "Choose other layers in policy_kwargs, or similarity_frozen=True or "
                "similarity_learning='auxiliary' (in PairwiseA2C, weights_frozen=True)."
            ) from error
        return value.detach(), th.zeros_like(value) if tangent is None else tangent.detach()


class _Tangents(TorchFunctionMode):
    """Context in which linear maps reuse recorded values and compute only tangents."""

    def __init__(self, outputs: Sequence[Tensor]) -> None:
        """Store the values, in order."""
        super().__init__()
        self.outputs = iter(outputs)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call ``func``, unless its value was recorded."""
        if func in LINEAR_MAPS and th.is_grad_enabled():
            return _known_map(next(self.outputs), func, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _known_map(
    output: Tensor,
    linear: Callable[..., Tensor],
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *settings: Any,
    **named: Any,
) -> Tensor:
    """A linear map's output with its tangent ``W ẋ + Ẇ x + ḃ``."""
    (x, x_dot), (w, w_dot) = unpack_dual(input), unpack_dual(weight)
    b_dot = None if bias is None else unpack_dual(bias)[1]
    parts = []
    if w_dot is not None:
        parts.append(linear(x, w_dot, b_dot, *settings, **named))
    if x_dot is not None:
        parts.append(linear(x_dot, w, None, *settings, **named))
    return make_dual(output, sum(parts[1:], parts[0])) if parts else output


@functools.cache
def _load_forward_mode() -> None:
    """Make torch load what forward mode needs, silencing deprecation warnings of its own code."""
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter("ignore", DeprecationWarning)
        make_dual(th.zeros(()), th.ones(())).sin()
