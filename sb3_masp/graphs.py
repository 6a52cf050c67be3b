"""The device parts of an update: run eagerly, or replayed as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch as th
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer

from macro_gym.errors import LearnerSettingError
from sb3_masp.samples import MacroReplaySamples

if TYPE_CHECKING:
    from sb3_masp.macro_learner import MacroLearner

Result = TypeVar("Result")

SETTINGS = (bool, int, float, str)
"""Types of arguments that get a separate graph for each value."""

WARM_UP = 3
"""Eager calls of a part before it is captured, in which libraries load what they need."""


class Eager:
    """Runs the parts of an update eagerly, and logs at once.

    Args:
        learner: The learner that is updated.
    """

    def __init__(self, learner: MacroLearner) -> None:
        """Store the learner."""
        self.learner = learner

    def __call__(self, part: Callable[..., Result], *arguments: Any) -> Result:
        """Run one part: only work on the device, of which nothing is read back."""
        return part(*arguments)

    def note(self, name: str, value: Tensor) -> None:
        """Log the mean over updates of a figure of shape ``()``."""
        self.learner.logger.record_mean(name, value.item())

    def scalar(self, name: str, value: float) -> float | Tensor:
        """A setting that changes during training, in the form that parts read."""
        return value

    def hold(self, optimizer: Optimizer) -> None:
        """Prepare an optimizer, whose learning rate has just been set, for use in parts."""

    def log(self) -> None:
        """Log the figures that have not been logged yet."""

    def forget(self) -> None:
        """Discard everything that depends on where parameters are in memory."""


class Graphs(Eager):
    """Replays the parts of an update as CUDA graphs: one call per part instead of hundreds.

    A part is captured once per combination of shapes and settings, after `WARM_UP` eager calls,
    which are ordinary updates. From then on, batches are copied to the graph's inputs, and results
    are always at the same place in memory. Figures for the log are summed on the device and read
    when the log is written; η and learning rates are tensors on the device, so that schedules keep
    working.

    Args:
        learner: The learner that is updated.

    Raises:
        LearnerSettingError: The learner is not on a GPU, or its optimizer cannot be captured.
    """

    def __init__(self, learner: MacroLearner) -> None:
        """Check that updates can be captured."""
        super().__init__(learner)
        self._require_cuda()
        if type(learner.policy.optimizer) not in (Adam, AdamW):
            raise LearnerSettingError(
                f"cuda_graph=True captures Adam and AdamW, but the optimizer is "
                f"{type(learner.policy.optimizer).__name__}; leave it out, or choose one of these "
                "as optimizer_class in policy_kwargs"
            )
        self.capturing = False
        self._figures: dict[str, tuple[Tensor, Tensor]] = {}
        self._scalars: dict[str, Tensor] = {}
        self._values: dict[str, float] = {}
        self.forget()

    def _require_cuda(self) -> None:
        """Reject a learner on another device."""
        if self.learner.device.type != "cuda":
            raise LearnerSettingError(
                f"cuda_graph=True needs a GPU, but the learner is on {self.learner.device}; leave "
                "it out, or load the model with cuda_graph=False"
            )
        self._stream = th.cuda.Stream(self.learner.device)  # type: ignore[no-untyped-call]

    def __call__(self, part: Callable[..., Result], *arguments: Any) -> Result:
        """Replay one part, or run it eagerly during warm-up."""
        key = (part, self.learner._device_settings(), *map(_kind, arguments))
        captured = self._captured.get(key)
        if captured is None or not captured.fits(arguments):
            self._captured.pop(key, None)
            self._calls[key] = self._calls.get(key, 0) + 1
            if self._calls[key] <= WARM_UP:
                return self._aside(part, arguments)
            held = tuple(_copy(a) if _is_batch(a) else a for a in arguments)
            captured = Captured(held, self._record(lambda: part(*held)))
            self._captured[key] = captured
        result: Result = captured.replay(arguments)
        return result

    def note(self, name: str, value: Tensor) -> None:
        """Add a figure of shape ``()`` to the mean that `log` writes."""
        if name not in self._figures:
            self._figures[name] = (th.zeros_like(value), th.zeros_like(value))
        total, count = self._figures[name]
        total.add_(value.detach())
        count.add_(1)

    def scalar(self, name: str, value: float) -> Tensor:
        """A number on the device, updated at every call outside a capture."""
        if name not in self._scalars:
            self._scalars[name] = th.zeros((), device=self.learner.device)
        if not self.capturing and self._values.get(name) != value:
            self._scalars[name].fill_(value)
            self._values[name] = value
        return self._scalars[name]

    def hold(self, optimizer: Optimizer) -> None:
        """Use torch's fused kernel for the step, with all that it reads on the device."""
        for index, group in enumerate(optimizer.param_groups):
            group["fused"], group["foreach"] = True, None
            if not isinstance(group["lr"], Tensor):
                group["lr"] = self.scalar(f"{id(optimizer)} {index}", group["lr"])
        for parameter, state in optimizer.state.items():
            state["step"] = state["step"].to(parameter.device)

    def log(self) -> None:
        """Log the means, and reset them."""
        for name, (total, count) in self._figures.items():
            if number := float(count):
                self.learner.logger.record(name, float(total) / number)
            total.zero_()
            count.zero_()

    def forget(self) -> None:
        """Discard all captures."""
        self._captured: dict[Any, Captured] = {}
        self._calls: dict[Any, int] = {}

    def _aside(self, part: Callable[..., Result], arguments: tuple[Any, ...]) -> Result:
        """Run a part on the stream that will capture it."""
        here = th.cuda.current_stream()
        self._stream.wait_stream(here)
        with th.cuda.stream(self._stream):
            result = part(*arguments)
        here.wait_stream(self._stream)
        return result

    def _record(self, part: Callable[[], Result]) -> Callable[[], Result]:
        """Capture a part; return a function that replays it and returns its result."""
        graph = th.cuda.CUDAGraph()
        parameters = [p for o in self._optimizers() for g in o.param_groups for p in g["params"]]
        before = [parameter.grad for parameter in parameters]
        with self._capturable(), th.cuda.graph(graph, stream=self._stream):
            result = part()
        gradients = [
            (parameter, parameter.grad)
            for parameter, old in zip(parameters, before, strict=True)
            if parameter.grad is not old
        ]

        def replay() -> Result:
            graph.replay()
            # Another graph may have set its own gradients.
            for parameter, gradient in gradients:
                parameter.grad = gradient
            return result

        return replay

    @contextmanager
    def _capturable(self) -> Iterator[None]:
        """Context for a capture, in which torch requires capturable optimizers."""
        groups = [group for optimizer in self._optimizers() for group in optimizer.param_groups]
        before = [group["capturable"] for group in groups]
        self.capturing = True
        for group in groups:
            group["capturable"] = True
        try:
            yield
        finally:
            self.capturing = False
            for group, capturable in zip(groups, before, strict=True):
                group["capturable"] = capturable

    def _optimizers(self) -> list[Optimizer]:
        """The optimizers that step inside parts."""
        return self.learner._optimizers()


class Captured(NamedTuple):
    """A captured part.

    Args:
        arguments: Those that it was captured with: its own copies of batches, which every replay
            reads, and objects that must be the same each time.
        run: Replays it and returns its result.
    """

    arguments: tuple[Any, ...]
    run: Callable[[], Any]

    def fits(self, arguments: tuple[Any, ...]) -> bool:
        """Whether a replay is valid for these arguments."""
        return all(
            new is held or _is_batch(new) or isinstance(new, SETTINGS)
            for new, held in zip(arguments, self.arguments, strict=True)
        )

    def replay(self, arguments: tuple[Any, ...]) -> Any:
        """Copy batches to the graph's inputs, and run it."""
        for new, held in zip(arguments, self.arguments, strict=True):
            if _is_batch(new):
                for to, tensor in zip(_tensors(held), _tensors(new), strict=True):
                    to.copy_(tensor, non_blocking=True)
        return self.run()


def _is_batch(argument: Any) -> bool:
    """Whether an argument is a batch, drawn anew for every call."""
    return isinstance(argument, (MacroReplaySamples, ReplayBufferSamples))


def _tensors(batch: Any) -> list[Tensor]:
    """The tensors of a batch, in order."""
    parts = [part.values() if isinstance(part, dict) else [part] for part in batch]
    return [tensor for part in parts for tensor in part if isinstance(tensor, Tensor)]


def _copy(batch: Any) -> Any:
    """A copy of a batch."""
    return type(batch)(
        *(
            {key: tensor.clone() for key, tensor in part.items()}
            if isinstance(part, dict)
            else part.clone()
            if isinstance(part, Tensor)
            else part
            for part in batch
        )
    )


def _kind(argument: Any) -> Any:
    """What a capture depends on: shapes of a batch, or the value of a setting."""
    if _is_batch(argument):
        return tuple((tensor.shape, tensor.dtype) for tensor in _tensors(argument))
    return argument if isinstance(argument, SETTINGS) else type(argument)
