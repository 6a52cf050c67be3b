"""MacroVectorEnv: many macro environments in a few processes."""

import pickle
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from gymnasium.core import RenderFrame
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, create_empty_array, iterate
from numpy.typing import NDArray

from macro_gym.errors import ArgumentTypeError, EnvironmentSettingError, VectorEnvError
from macro_gym.vector_infos import are_alike, columns
from macro_gym.vector_lanes import EnvMaker
from macro_gym.vector_processes import Processes, number_of_processes

SHARED_MEMORY = Path("/dev/shm")

PROCESSES = ("_processes", "_stepping")
"""Attributes that are not pickled."""

StepResults = tuple[
    NDArray[Any], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
]
"""Observations, rewards, terminations, truncations, infos."""


class MacroVectorEnv(VectorEnv[NDArray[Any], NDArray[Any], NDArray[Any]]):
    """Environments stepped in parallel, each for as long as its own macro lasts.

    Results equal those of ``gymnasium.vector.SyncVectorEnv`` with the same environments and seeds,
    infos included. The environments are spread over ``num_workers`` processes, which write
    observations into memory that they share with the caller. A step takes as long as the process
    with the most to do, so with macros of mixed lengths it pays to have several environments in
    each.

    ``gym.make_vec("MacroALE/<Game>-v5", num_envs=16)`` makes one. It also accepts the arguments
    below from ``num_workers`` on, besides those of the game.

    Args:
        env_fns: Functions that make each environment. Observations must be arrays or numbers.
        num_workers: Number of processes; ``None`` for one per usable core. There are never more
            than environments.
        copy: Whether to return observations in a new array. If False, the returned array is
            overwritten by the next step or reset, which saves copying it.
        autoreset_mode: When to reset an environment whose episode has ended: in the next step, in
            the same step (then ``infos`` holds ``final_obs`` and ``final_info``) or, if disabled,
            only by ``reset(options={"reset_mask": mask})``.
        context: How processes are started: ``"fork"``, ``"forkserver"`` or ``"spawn"``. ``None``
            for ``"fork"`` on Linux, which needs no ``if __name__ == "__main__":`` in scripts, and
            for Python's default elsewhere.

    Raises:
        EnvironmentSettingError: There are no environments, or their spaces differ, or another
            setting is out of range.
        ArgumentTypeError: Observations are neither arrays nor numbers.
        VectorEnvError: From any method, if a process has died.

    It can be pickled and copied in the middle of episodes, if its environments can.

    An environment's exception reaches the caller as it is (as a `VectorEnvError` if it cannot be
    pickled), with a note that says in which environment and where.

    Example:
        >>> import gymnasium as gym, macro_gym
        >>> envs = gym.make_vec("MacroALE/Breakout-v5", num_envs=3, k=8)
        >>> observations, infos = envs.reset(seed=1)
        >>> observations.shape
        (3, 4, 84, 84)
        >>> observations, rewards, terminations, truncations, infos = envs.step([0, 4, 9])
        >>> infos["duration"], envs.get_attr("macro_set")[0].expand(9)
        (array([1, 2, 3]), (1, 1, 1))
        >>> envs.close()
    """

    def __init__(
        self,
        env_fns: Sequence[EnvMaker],
        *,
        num_workers: int | None = None,
        copy: bool = True,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        context: str | None = None,
    ) -> None:
        """Start the processes and make the environments."""
        self.num_envs = len(env_fns)
        self.copy = copy
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self._context = context
        number = number_of_processes(num_workers, self.num_envs)
        self._stepping: list[int] | None = None
        self._processes = Processes(env_fns, number, self.autoreset_mode, context)
        try:
            self._agree_on_spaces()
            self._observations = self._shared_observations()
        except BaseException:
            self.close()
            raise

    @property
    def processes(self) -> list[Any]:
        """The processes; environment ``i`` is in the one at ``i % len(processes)``."""
        return self._processes.processes

    @property
    def np_random_seed(self) -> tuple[int | None, ...]:  # type: ignore[override]  # as in Gymnasium
        """The seeds of the environments' generators."""
        return self.get_attr("np_random_seed")

    @property  # type: ignore[misc]  # it cannot be set
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """Copies of the environments' generators."""
        return self.get_attr("np_random")

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """Start episodes in all environments, or in those selected by a mask.

        Args:
            seed: One per environment, or the first one's (the next has one more, and so on), or
                None to leave their generators as they are.
            options: Passed to the environments. A boolean array under ``"reset_mask"``, shape
                ``(num_envs,)``, selects those to reset; the others stay as they are.

        Returns:
            Observations of all environments, and infos of those that were reset.
        """
        seeds = self._seeds(seed)
        indices, options = self._masked(options)
        infos = self._ask("reset", {index: (seeds[index], options) for index in indices})
        return self._shown(), self._batched(infos)

    def step(self, actions: Any) -> StepResults:
        """Take one decision in each environment: ``actions`` has shape ``(num_envs,)``."""
        self.step_async(actions)
        return self.step_wait()

    def step_async(self, actions: Any) -> None:
        """Start a step, whose results `step_wait` returns; the caller can work while it runs."""
        tasks = {i: (action,) for i, action in enumerate(iterate(self.action_space, actions))}
        if len(tasks) != self.num_envs:
            raise EnvironmentSettingError(
                f"there are {len(tasks)} actions for {self.num_envs} environments"
            )
        self._require_idle("step")
        self._stepping = self._processes.send("step", tasks)

    def step_wait(self) -> StepResults:
        """Return the results of the step that `step_async` started."""
        if self._stepping is None:
            raise VectorEnvError("step_wait was called, but no step is under way; call step_async")
        workers, self._stepping = self._stepping, None
        results = self._processes.receive(workers)
        rewards, terminations, truncations, infos = zip(*results.values(), strict=True)
        return (
            self._shown(),
            np.array(rewards, np.float64),
            np.array(terminations, np.bool_),
            np.array(truncations, np.bool_),
            self._batched(dict(enumerate(infos))),
        )

    def render(self) -> tuple[RenderFrame, ...] | None:
        """Return each environment's rendering."""
        return self.call("render")

    def call(self, name: str, /, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Call a method of each environment, or get an attribute; results must be picklable."""
        if name in ("reset", "step", "close"):
            raise EnvironmentSettingError(
                f"call({name!r}) would hide from the vector environment which episodes have "
                f"ended; use its own {name}"
            )
        return tuple(self._ask("call", dict.fromkeys(self._indices, (name, args, kwargs))).values())

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Return an attribute of each environment."""
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Set an attribute: to one value everywhere or, with a list or tuple, to one for each."""
        if not isinstance(values, (list, tuple)):
            values = [values] * self.num_envs
        if len(values) != self.num_envs:
            raise EnvironmentSettingError(
                f"there are {len(values)} values of {name} for {self.num_envs} environments"
            )
        self._ask("set_attr", {index: (name, value) for index, value in enumerate(values)})

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the processes; the environments are pickled in mid-episode.

        Raises:
            RestoreError: They would be restored as new ones.
            VectorEnvError: A step is under way.
        """
        saved = self._ask("save", dict.fromkeys(self._indices, ()))
        state = {name: part for name, part in vars(self).items() if name not in PROCESSES}
        shown = self._observations.copy()
        return state | {"_observations": shown, "_saved": saved, "_number": len(self.processes)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Start processes in which the environments continue."""
        saved, shown = state.pop("_saved"), state.pop("_observations")
        MacroVectorEnv.__init__(
            self,
            [partial(pickle.loads, pickled) for pickled, _ in saved.values()],
            num_workers=state.pop("_number"),
            copy=state["copy"],
            autoreset_mode=state["autoreset_mode"],
            context=state["_context"],
        )
        vars(self).update(state)
        self._observations[:] = shown
        self._ask("mark_ended", {index: () for index, (_, ended) in saved.items() if ended})

    def close_extras(self, **kwargs: Any) -> None:
        """Close the environments and end the processes, killing any that does not end."""
        self._processes.close()

    def __del__(self) -> None:
        """Close, if there is anything to close."""
        if not self.closed and hasattr(self, "_processes"):
            self.close()

    @property
    def _indices(self) -> range:
        """Indices of the environments."""
        return range(self.num_envs)

    def _agree_on_spaces(self) -> None:
        """Make the environments and adopt their common spaces."""
        made = self._ask("make", dict.fromkeys(self._indices, ()))
        spaces = [(observations, actions) for observations, actions, _, _ in made.values()]
        for index, pair in enumerate(spaces):
            if pair != spaces[0]:
                raise EnvironmentSettingError(
                    f"environment {index} has the spaces {pair}, but environment 0 {spaces[0]}; "
                    "all must have the same. Are their macros as many?"
                )
        self.single_observation_space, self.single_action_space = spaces[0]
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        _, _, metadata, self.render_mode = made[0]
        self.metadata = metadata | {"autoreset_mode": self.autoreset_mode}

    def _shared_observations(self) -> NDArray[Any]:
        """An array shared with all processes, which write observations to it."""
        like = create_empty_array(self.single_observation_space, self.num_envs)
        if not isinstance(like, np.ndarray) or like.dtype == object:
            raise ArgumentTypeError(
                f"observations are of {self.single_observation_space}, which is no array; use "
                "gymnasium.vector.AsyncVectorEnv for such"
            )
        parent = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
        # A file deleted once all have it open cannot be left behind, whoever is killed.
        with TemporaryDirectory(dir=parent, ignore_cleanup_errors=True) as folder:
            path = Path(folder) / "observations"
            shared = np.memmap(path, like.dtype, "w+", shape=like.shape)
            self._ask("share", dict.fromkeys(self._indices, (path, like.shape, like.dtype)))
        return np.asarray(shared)

    def _ask(self, method: str, tasks: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        """Call ``method`` of `Lanes` for environments; return their results by index."""
        self._require_idle(method)
        return self._processes.ask(method, tasks)

    def _require_idle(self, method: str) -> None:
        """Raise if the vector environment is closed or a step is under way."""
        if self.closed:
            raise VectorEnvError(f"{method} was called, but the vector environment is closed")
        if self._stepping is not None:
            raise VectorEnvError(f"{method} was called while a step is under way; call step_wait")

    def _shown(self) -> NDArray[Any]:
        """The observations to return to the caller."""
        return self._observations.copy() if self.copy else self._observations

    def _batched(self, infos: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
        """Infos of environments, batched as Gymnasium does."""
        if len(infos) == self.num_envs and are_alike(infos.values()):
            return columns(list(infos.values()))
        batched: dict[str, Any] = {}
        for index, info in infos.items():
            batched = self._add_info(batched, info, index)
        return batched

    def _seeds(self, seed: int | Sequence[int | None] | None) -> Sequence[int | None]:
        """The seed of each environment."""
        if seed is None:
            return [None] * self.num_envs
        if isinstance(seed, (int, np.integer)):
            return [int(seed) + index for index in self._indices]
        if len(seed) != self.num_envs:
            raise EnvironmentSettingError(
                f"there are {len(seed)} seeds for {self.num_envs} environments"
            )
        return seed

    def _masked(
        self, options: dict[str, Any] | None
    ) -> tuple[Sequence[int], dict[str, Any] | None]:
        """The environments to reset, and the options without the mask."""
        if options is None or "reset_mask" not in options:
            return self._indices, options
        mask = options["reset_mask"]
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise ArgumentTypeError(
                f"options['reset_mask'] is {mask!r}; it must be a NumPy array of booleans"
            )
        if mask.shape != (self.num_envs,) or not mask.any():
            raise EnvironmentSettingError(
                f"options['reset_mask'] has shape {mask.shape} and says that {mask.sum()} "
                f"environments be reset; its shape must be ({self.num_envs},), and at least one "
                "must be reset"
            )
        rest = {name: value for name, value in options.items() if name != "reset_mask"}
        return [int(index) for index in np.flatnonzero(mask)], rest
