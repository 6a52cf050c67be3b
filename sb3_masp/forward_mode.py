"""The derivative of a network's output as its parameters move, by one pass in forward mode.

Most of a network's time goes into its linear maps, and in forward mode into their values again and
two maps more. Where the network has been evaluated before, at these parameters and inputs, those
values need not be computed twice: `LinearMaps` notes them, and `network_tangent` takes them up.
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

Parameters = Mapping[str, Tensor]

make_dual: Callable[[Tensor, Tensor], Tensor] = forward_ad.make_dual
unpack_dual: Callable[[Tensor], tuple[Tensor, Tensor | None]] = forward_ad.unpack_dual

LINEAR_MAPS = (F.linear, th.conv1d, th.conv2d, th.conv3d)
"""Linear in inputs and in weights, and called as ``(input, weight, bias, *settings)``."""


class LinearMaps(TorchFunctionMode):
    """While entered, notes the outputs of linear maps that are to be differentiated, in order."""

    def __init__(self) -> None:
        """Begin with none."""
        super().__init__()
        self.outputs: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call ``func``, and note what it gives."""
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
        outputs: What its linear maps gave at these parameters, as `LinearMaps` notes it; they are
            computed again if none are given.

    Returns:
        The value and its directional derivative, of the same shape, both cut from any graph.
    """
    _load_forward_mode()
    with forward_ad.dual_level(), _Tangents(outputs) if outputs else nullcontext():
        point = {name: value.detach() for name, value in parameters.items()}
        moving = {name: make_dual(point[name], tangent) for name, tangent in tangents.items()}
        value, tangent = unpack_dual(network(point | moving))
        return value.detach(), th.zeros_like(value) if tangent is None else tangent.detach()


class _Tangents(TorchFunctionMode):
    """While entered, gives linear maps the values noted before and computes only tangents."""

    def __init__(self, outputs: Sequence[Tensor]) -> None:
        """Take the values in order."""
        super().__init__()
        self.outputs = iter(outputs)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call ``func``, unless its value is known."""
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
    """Let torch load what its first forward-mode pass needs, scripts that it has deprecated."""
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter("ignore", DeprecationWarning)
        make_dual(th.zeros(()), th.ones(())).sin()
