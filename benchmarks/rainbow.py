"""Time one update of `Rainbow` against one as in CleanRL's ``rainbow_atari.py``.

CleanRL publishes scripts, not a library, so its update is re-implemented here from what that script
computes (commit fe8d8a03), not copied. It agrees with the script in the network (three
convolutions, value and advantage streams of 512, 51 atoms, layer sizes and parameters), in the
noise (drawn independently for each weight of both networks before each update, and added to the
weights in every forward pass), in the probabilities computed for all actions in all three passes,
in the projection's loop over the batch, in the clamped cross-entropy, and in torch's Adam. In the
script's favour, it leaves out all replay: sampling, which the script does with a Python tree, and
priorities. `Rainbow` is timed with its replay, and with SB3's gradient clipping, which the script
does not have.

Times are processor time, which on one thread is the time on an otherwise idle core. Both take turns
within each round, so that a slowdown of the machine affects both; the ratio is the median over
rounds.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
import tyro
from stable_baselines3.common.logger import configure
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from benchmarks.report import write_report
from benchmarks.update import Frames
from sb3_masp import Rainbow


@dataclass(frozen=True)
class Settings:
    """Size of the measurement.

    Args:
        rounds: Rounds; each arm takes one turn in each.
        updates: Updates of each arm in a turn.
        actions: Actions of the network: 4 primitives and 128 macros.
        batch_size: Decisions in a batch.
        threads: Threads of torch.
        output: Where the result goes.
        smoke: Two short rounds, to check that it runs.
    """

    rounds: int = 40
    updates: int = 3
    actions: int = 132
    batch_size: int = 32
    threads: int = 1
    output: Path = Path("benchmarks/results/rainbow.json")
    smoke: bool = False


class UnfactorisedLinear(nn.Module):
    """A linear layer with independent noise for every weight."""

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        """Initialise as in the script, as far as it affects the time of an update."""
        super().__init__()
        width = n_inputs**-0.5
        self.means = nn.Linear(n_inputs, n_outputs)
        self.weight_sigma = nn.Parameter(th.full((n_outputs, n_inputs), 0.5 * width))
        self.bias_sigma = nn.Parameter(th.full((n_outputs,), 0.5 * n_outputs**-0.5))
        self.register_buffer("weight_noise", th.randn(n_outputs, n_inputs))
        self.register_buffer("bias_noise", th.randn(n_outputs))

    def draw(self) -> None:
        """Redraw all noise."""
        self.weight_noise.normal_()
        self.bias_noise.normal_()

    def forward(self, inputs: Tensor) -> Tensor:
        """Form the noisy weights and apply them."""
        weight = self.means.weight + self.weight_sigma * self.weight_noise
        return F.linear(inputs, weight, self.means.bias + self.bias_sigma * self.bias_noise)


class ReferenceNetwork(nn.Module):
    """Noisy, dueling and distributional network, which returns probabilities of atoms."""

    def __init__(self, n_actions: int, n_atoms: int) -> None:
        """Build the convolutions and both streams."""
        super().__init__()
        self.n_atoms = n_atoms
        self.convolutions = nn.Sequential(
            *(nn.Conv2d(4, 32, 8, stride=4), nn.ReLU()),
            *(nn.Conv2d(32, 64, 4, stride=2), nn.ReLU()),
            *(nn.Conv2d(64, 64, 3, stride=1), nn.ReLU()),
            nn.Flatten(),
        )
        self.values, self.advantages = (
            nn.Sequential(
                UnfactorisedLinear(3136, 512), nn.ReLU(), UnfactorisedLinear(512, n_outputs)
            )
            for n_outputs in (n_atoms, n_actions * n_atoms)
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Return probabilities, shape ``(batch, actions, atoms)``."""
        features = self.convolutions(frames / 255.0)
        values = self.values(features).unflatten(1, (1, self.n_atoms))
        advantages = self.advantages(features).unflatten(1, (-1, self.n_atoms))
        return (values + advantages - advantages.mean(dim=1, keepdim=True)).softmax(dim=2)

    def draw(self) -> None:
        """Redraw all noise."""
        for module in self.modules():
            if isinstance(module, UnfactorisedLinear):
                module.draw()


@dataclass(frozen=True)
class Batch:
    """A batch of random transitions.

    Args:
        frames: Observations, as bytes, shape ``(batch, 4, 84, 84)``.
        next_frames: Next observations, likewise.
        actions: Shape ``(batch,)``.
        rewards: Shape ``(batch, 1)``.
        dones: Shape ``(batch, 1)``.
        weights: Importance weights, shape ``(batch,)``.
    """

    frames: Tensor
    next_frames: Tensor
    actions: Tensor
    rewards: Tensor
    dones: Tensor
    weights: Tensor


def looped_projection(masses: Tensor, positions: Tensor) -> Tensor:
    """Project sample by sample: split each mass between the atoms below and above its position."""
    lower, upper = positions.floor(), positions.ceil()
    to_lower = (upper + (lower == positions) - positions) * masses
    to_upper = (positions - lower) * masses
    projected = th.zeros_like(masses)
    for row, *parts in zip(projected, lower.long(), to_lower, upper.long(), to_upper, strict=True):
        row.index_add_(0, parts[0], parts[1])
        row.index_add_(0, parts[2], parts[3])
    return projected


class Reference:
    """The script's networks and optimizer, and one update on a batch."""

    def __init__(self, n_actions: int) -> None:
        """Build what the script builds before its loop."""
        self.online, self.target = ReferenceNetwork(n_actions, 51), ReferenceNetwork(n_actions, 51)
        self.target.load_state_dict(self.online.state_dict())
        self.optimizer = th.optim.Adam(self.online.parameters(), lr=6.25e-5, eps=1.5e-4)
        self.support = th.linspace(-10, 10, 51)

    def update(self, batch: Batch) -> np.ndarray:
        """Take one step; return the losses, for the priorities."""
        self.online.draw()
        self.target.draw()
        rows = th.arange(len(batch.actions))
        targets = self._targets(batch, rows)
        chosen = self.online(batch.frames)[rows, batch.actions]
        losses = -(targets * chosen.clamp(1e-5, 1 - 1e-5).log()).sum(dim=1)
        priorities = losses.detach().numpy()
        self.optimizer.zero_grad()
        (losses * batch.weights).mean().backward()
        self.optimizer.step()
        return priorities

    @th.no_grad()
    def _targets(self, batch: Batch, rows: Tensor) -> Tensor:
        """Distributions of the target network at double Q's actions, shifted and projected."""
        next_probabilities = self.target(batch.next_frames)
        _ = (next_probabilities * self.support).sum(dim=2)  # computed in the script, but not used
        best = (self.online(batch.next_frames) * self.support).sum(dim=2).argmax(dim=1)
        returns = batch.rewards + 0.99**3 * self.support * (1 - batch.dones)
        positions = (returns.clamp(-10, 10) + 10) / 0.4
        return looped_projection(next_probabilities[rows, best], positions.clamp(0, 50))


def arms(settings: Settings) -> dict[str, Callable[[], None]]:
    """Each arm as a function that does ``settings.updates`` updates."""
    model = Rainbow(
        "CnnPolicy", Frames(settings.actions), buffer_size=1000, learning_starts=500, seed=0
    )
    model.set_logger(configure(None, []))
    model.learn(500)
    reference, batch = Reference(settings.actions), random_batch(settings)
    n_ours, n_theirs = (_size(network) for network in (model.q_net, reference.online))
    if n_ours != n_theirs:
        raise SystemExit(f"the networks differ: {n_ours} and {n_theirs} parameters")

    def update_reference() -> None:
        for _ in range(settings.updates):
            reference.update(batch)

    return {
        "as CleanRL's rainbow_atari": update_reference,
        "Rainbow": lambda: model.train(settings.updates, settings.batch_size),
    }


def random_batch(settings: Settings) -> Batch:
    """Noise of the right shapes."""
    size = settings.batch_size
    frames, next_frames = th.randint(0, 256, (2, size, 4, 84, 84), dtype=th.uint8)
    return Batch(
        frames,
        next_frames,
        th.randint(settings.actions, (size,)),
        th.randn(size, 1),
        (th.rand(size, 1) < 0.1).float(),
        th.rand(size),
    )


def _size(network: nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def main(settings: Settings) -> None:
    """Measure, print the ratio, and write the result."""
    rounds, updates = (2, 2) if settings.smoke else (settings.rounds, settings.updates)
    settings = Settings(**{**vars(settings), "rounds": rounds, "updates": updates})
    th.set_num_threads(settings.threads)
    contestants = arms(settings)
    for run in contestants.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in tqdm(range(settings.rounds), desc="rounds", unit="round"):
        for name, run in contestants.items():
            start = time.process_time()
            run()
            seconds[name].append((time.process_time() - start) / settings.updates)
    base = np.array(seconds["as CleanRL's rainbow_atari"])
    ratios = {name: float(np.median(np.array(times) / base)) for name, times in seconds.items()}
    for name, ratio in ratios.items():
        print(f"{name:30} {np.median(seconds[name]) * 1e3:7.1f} ms   {ratio:5.2f}")
    result: dict[str, Any] = {
        "what": "processor seconds for one update; ratio: median over rounds to the reference",
        "batch_size": settings.batch_size,
        "actions": settings.actions,
        "threads": settings.threads,
        "ratios": ratios,
        "seconds": seconds,
    }
    write_report(settings.output, result)


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
