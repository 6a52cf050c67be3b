"""MacroVectorEnv: what its environments do one by one (law 4), and nothing left behind."""

import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from macro_gym import MacroAction, MacroSet
from macro_gym.errors import (
    ActionSpaceError,
    ArgumentTypeError,
    EnvironmentSettingError,
    InvalidMacroError,
    VectorEnvError,
)
from macro_gym.vector import MacroVectorEnv

BREAKOUT = "MacroALE/Breakout-v5"
N_ENVS, N_WORKERS = 3, 2
SEED = 11


def random_macros():
    rng = np.random.default_rng(0)
    lengths = (1, 2, 3, 5, 8, 8, 11)
    macros = tuple(tuple(rng.integers(4, size=length).tolist()) for length in lengths)
    return MacroSet(("NOOP", "FIRE", "RIGHT", "LEFT"), macros)


SHORT = {"macros": random_macros(), "obs_type": "ram", "max_num_frames_per_episode": 160}


def breakout(n_envs=N_ENVS, **settings):
    """A MacroVectorEnv as ``gym.make_vec`` makes it, of short episodes."""
    return gym.make_vec(BREAKOUT, n_envs, **{"num_workers": N_WORKERS} | SHORT | settings)


def one_by_one(n_envs=N_ENVS, autoreset_mode=AutoresetMode.NEXT_STEP, **settings):
    return SyncVectorEnv(
        [partial(gym.make, BREAKOUT, **SHORT | settings)] * n_envs, autoreset_mode=autoreset_mode
    )


def cart_pole(macros=((0, 1, 1), (1, 0), (1,) * 5)):
    return MacroAction(gym.make("CartPole-v1"), MacroSet(("LEFT", "RIGHT"), macros))


def cart_poles(n_envs=5, n_workers=3, **settings):
    return MacroVectorEnv([cart_pole] * n_envs, num_workers=n_workers, **settings)


@pytest.fixture
def envs():
    vector = cart_poles()
    vector.reset(seed=SEED)
    yield vector
    vector.close()


@pytest.fixture
def reference():
    vector = SyncVectorEnv([cart_pole] * 5)
    vector.reset(seed=SEED)
    return vector


def assert_same(one, other):
    """The same values of the same types, however nested."""
    assert type(one) is type(other)
    if isinstance(one, (tuple, list)):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            assert_same(mine, theirs)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, np.ndarray) and one.dtype == object:
        assert_same(one.tolist(), other.tolist())
    else:
        np.testing.assert_array_equal(one, other, strict=isinstance(one, np.ndarray))


def assert_same_play(vector, reference, decisions, seed=SEED):
    """Both do the same; return how often episodes terminated and were truncated."""
    rng = np.random.default_rng(7)
    assert_same(vector.reset(seed=seed), reference.reset(seed=seed))
    ends = np.zeros(2, int)
    for _ in range(decisions):
        actions = rng.integers(vector.single_action_space.n, size=vector.num_envs)
        mine = vector.step(actions)
        assert_same(mine, reference.step(actions))
        ends += mine[2].sum(), mine[3].sum()
    vector.close()
    reference.close()
    return ends


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("obs_type", ["ram", "grayscale", "rgb"])
def test_it_equals_its_environments_one_by_one(mode, obs_type):
    settings = {"obs_type": obs_type, "autoreset_mode": mode}
    _, truncated = assert_same_play(breakout(**settings), one_by_one(**settings), decisions=23)
    assert truncated > N_ENVS


def test_it_equals_its_environments_where_lives_end_episodes_and_start_with_noops():
    settings = {
        "terminal_on_life_loss": True,
        "noop_max": 7,
        "max_num_frames_per_episode": 1000,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }
    terminated, _ = assert_same_play(breakout(**settings), one_by_one(**settings), decisions=60)
    assert terminated > 0


@pytest.mark.parametrize(("n_envs", "n_workers"), [(1, 1), (2, 7), (7, 2), (3, 1)])
def test_the_number_of_processes_changes_nothing(n_envs, n_workers):
    vector = cart_poles(n_envs, n_workers)
    assert len(vector.processes) == min(n_envs, n_workers)
    assert_same_play(vector, SyncVectorEnv([cart_pole] * n_envs), decisions=13)


def test_there_are_as_many_processes_as_usable_cores_but_no_more_than_environments():
    cores = len(os.sched_getaffinity(0))
    for n_envs in (1, cores + 1):
        vector = cart_poles(n_envs, n_workers=None)
        assert len(vector.processes) == min(n_envs, cores)
        vector.close()


def test_disabled_autoreset_leaves_resets_to_a_mask():
    vector = breakout(autoreset_mode=AutoresetMode.DISABLED)
    reference = one_by_one(autoreset_mode=AutoresetMode.DISABLED)
    assert_same(vector.reset(seed=SEED), reference.reset(seed=SEED))
    rng, n_partial = np.random.default_rng(3), 0
    for seed in range(23):
        actions = rng.integers(vector.single_action_space.n, size=N_ENVS)
        mine = vector.step(actions)
        assert_same(mine, reference.step(actions))
        mask = mine[2] | mine[3]
        if mask.any():
            n_partial += not mask.all()
            # Gymnasium takes the mask out of the options that it is given.
            options = ({"reset_mask": mask}, {"reset_mask": mask})
            seeds = [seed, None, seed + 7]
            mine = vector.reset(seed=seeds, options=options[0])
            assert_same(mine, reference.reset(seed=seeds, options=options[1]))
    assert n_partial > 2
    vector.close()


def test_an_ended_episode_is_not_gone_on_with_when_autoreset_is_disabled():
    vector = breakout(autoreset_mode="Disabled", max_num_frames_per_episode=8)
    vector.reset(seed=SEED)
    vector.step([0, 9, 0])
    with pytest.raises(VectorEnvError, match=r"(?s)its episode has ended.*in environment 1"):
        vector.step([0, 0, 0])
    vector.close()


@pytest.mark.parametrize("mask", [np.ones(4, bool), np.zeros(5, bool)])
def test_a_mask_that_selects_nothing_or_is_of_a_wrong_shape_is_refused(envs, mask):
    with pytest.raises(EnvironmentSettingError, match=r"shape must be \(5,\), and at least one"):
        envs.reset(options={"reset_mask": mask})
    with pytest.raises(ArgumentTypeError, match="must be a NumPy array of booleans"):
        envs.reset(options={"reset_mask": mask.tolist()})


def test_seeds_are_counted_up_listed_or_left_alone(envs, reference):
    for seed in (SEED, None, [5, None, 2, 2, 3], None):
        assert_same(envs.reset(seed=seed), reference.reset(seed=seed))
        assert_same(envs.np_random_seed, reference.np_random_seed)
    assert_same(envs.reset(seed=np.int64(4)), reference.reset(seed=4))
    with pytest.raises(EnvironmentSettingError, match="there are 2 seeds for 5 environments"):
        envs.reset(seed=[1, 2])


def test_make_vec_makes_it_and_makes_it_again_from_its_spec():
    envs = breakout()
    assert type(envs) is MacroVectorEnv
    again = gym.make_vec(envs.spec)
    assert_same(again.reset(seed=SEED), envs.reset(seed=SEED))
    assert (again.num_envs, len(again.processes)) == (N_ENVS, N_WORKERS)
    again.close()
    envs.close()


def test_the_vectors_of_gymnasium_are_there_by_name():
    for mode, kind in (("sync", SyncVectorEnv), ("async", AsyncVectorEnv)):
        vector = gym.make_vec(BREAKOUT, 2, vectorization_mode=mode, **SHORT)
        assert type(vector) is kind
        vector.close()


def test_spaces_and_metadata_are_those_of_gymnasiums_vectors():
    envs, reference = breakout(1), one_by_one(1)
    for name in (
        "single_observation_space",
        "single_action_space",
        "observation_space",
        "action_space",
        "metadata",
        "render_mode",
    ):
        assert getattr(envs, name) == getattr(reference, name)
    envs.close()


def test_decisions_can_be_limited_as_gym_make_limits_them():
    vector, reference = breakout(1, max_episode_steps=3), one_by_one(1, max_episode_steps=3)
    assert assert_same_play(vector, reference, decisions=7)[1] == 2


def test_attributes_and_methods_are_reached_as_in_gymnasiums_vectors(envs, reference):
    assert envs.call("get_action_meanings") == reference.call("get_action_meanings")
    for name in ("macro_set", "spec", "render_mode"):
        assert_same(envs.get_attr(name), reference.get_attr(name))
    envs.set_attr("handicap", 3)
    assert envs.get_attr("handicap") == (3,) * 5
    envs.set_attr("handicap", [2, 3, 5, 7, 11])
    assert envs.get_attr("handicap") == (2, 3, 5, 7, 11)
    with pytest.raises(EnvironmentSettingError, match="2 values of handicap for 5 environments"):
        envs.set_attr("handicap", [1, 2])
    with pytest.raises(EnvironmentSettingError, match="use its own reset"):
        envs.call("reset")


def test_it_renders_what_its_environments_render():
    settings = {"render_mode": "rgb_array"}
    vector, reference = breakout(2, **settings), one_by_one(2, **settings)
    for env in (vector, reference):
        env.reset(seed=SEED)
        env.step(np.array([9, 4]))
    assert_same(vector.render(), reference.render())
    assert vector.render()[0].shape == (210, 160, 3)
    vector.close()


def test_observations_are_copies_unless_asked_otherwise():
    for copy in (True, False):
        vector = cart_poles(2, copy=copy)
        first, _ = vector.reset(seed=SEED)
        held = first.copy()
        second = vector.step([3, 4])[0]
        assert np.shares_memory(first, second) is not copy
        np.testing.assert_array_equal(first, held if copy else second)
        vector.close()


def test_an_error_names_its_environment_and_where_it_arose_and_the_rest_goes_on(envs):
    with pytest.raises(
        ActionSpaceError, match=r"(?s)999.*in environment 3 of the vector.*\n.*in expand"
    ):
        envs.step(np.array([0, 0, 0, 999, 0]))
    with pytest.raises(AttributeError, match=r"(?s)handicap.*in environment 0 of the vector"):
        envs.get_attr("handicap")
    assert envs.step(np.zeros(5, int))[0].shape == (5, 4)


def test_an_error_in_making_an_environment_is_the_environments_own():
    with pytest.raises(InvalidMacroError, match=r"(?s)k is 99.*in environment 0 of the vector"):
        breakout(k=99)
    assert multiprocessing.active_children() == []


def test_what_cannot_be_pickled_is_an_error():
    vector = breakout(1)
    with pytest.raises(TypeError, match=r"(?s)ALEInterface.*in environment 0 of the vector"):
        vector.get_attr("ale")
    vector.close()


class AwkwardError(Exception):
    def __init__(self, one, other):
        super().__init__(f"{one} and {other}")


def awkward():
    raise AwkwardError("one", "other")


def test_an_error_that_cannot_be_pickled_arrives_as_text():
    with pytest.raises(VectorEnvError, match=r"(?s)^AwkwardError: one and other.*in awkward"):
        MacroVectorEnv([awkward])


def test_a_killed_process_is_reported_with_its_environments(envs):
    os.kill(envs.processes[1].pid, signal.SIGKILL)
    envs.processes[1].join()
    for _ in range(2):
        with pytest.raises(VectorEnvError, match=r"process 1, .* environments 1, 4, .* code -9"):
            envs.step(np.zeros(5, int))


def test_a_process_killed_in_the_middle_of_a_step_is_not_waited_for(envs):
    for process in envs.processes:
        os.kill(process.pid, signal.SIGSTOP)
    envs.step_async(np.zeros(5, int))
    threading.Timer(0.2, os.kill, (envs.processes[2].pid, signal.SIGKILL)).start()
    start = time.monotonic()
    with pytest.raises(VectorEnvError, match=r"process 2, .* environments 2, .* code -9"):
        envs.step_wait()
    assert time.monotonic() - start < 5
    for process in envs.processes[:2]:
        os.kill(process.pid, signal.SIGCONT)


def test_an_interrupted_step_leaves_no_answer_that_another_takes_for_its_own(envs, reference):
    first, second = np.array([3, 2, 4, 1, 2]), np.array([1, 3, 2, 0, 4])
    os.kill(envs.processes[0].pid, signal.SIGSTOP)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        envs.step(first)
    os.kill(envs.processes[0].pid, signal.SIGCONT)
    reference.step(first)
    assert_same(envs.step(second), reference.step(second))


class Verbose(gym.Wrapper):
    """Has infos that no pipe holds."""

    def step(self, action):
        *result, info = self.env.step(action)
        return *result, info | {"much": np.zeros(10**6)}


def interrupted_receiving(envs):
    """Interrupted when the first part of an answer is there."""
    envs.step_async(np.zeros(1, int))
    wait(envs._processes._channels)
    os.kill(envs.processes[0].pid, signal.SIGSTOP)
    interrupt_soon()
    envs.step_wait()


def interrupted_sending(envs):
    """Interrupted when the first part of a request has been sent."""
    os.kill(envs.processes[0].pid, signal.SIGSTOP)
    interrupt_soon()
    envs.set_attr("much", bytes(10**7))


def interrupt_soon():
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()


@pytest.mark.parametrize("interrupted", [interrupted_receiving, interrupted_sending])
def test_what_is_interrupted_in_the_middle_of_a_message_says_so_and_ends(interrupted):
    envs = MacroVectorEnv([lambda: Verbose(cart_pole())])
    envs.reset(seed=SEED)
    with pytest.raises(KeyboardInterrupt):
        interrupted(envs)
    os.kill(envs.processes[0].pid, signal.SIGCONT)
    for _ in range(2):
        with pytest.raises(VectorEnvError, match=r"interrupted.* in the middle of a message"):
            envs.step(np.zeros(1, int))
    start = time.monotonic()
    envs.close()
    assert time.monotonic() - start < 5
    assert multiprocessing.active_children() == []


def test_no_environment_gets_what_cannot_be_sent_to_another():
    envs = MacroVectorEnv([cart_pole, cart_pole], num_workers=2)
    with pytest.raises((AttributeError, pickle.PicklingError), match=r"[Cc]an't (get|pickle)"):
        envs.set_attr("colour", ["red", lambda: "green"])
    with pytest.raises(AttributeError, match="colour") as lacking:
        envs.get_attr("colour")
    assert "in environment 0" in lacking.value.__notes__[0]
    envs.close()


def test_a_step_is_waited_for_once_and_before_anything_else(envs):
    with pytest.raises(VectorEnvError, match="no step is under way; call step_async"):
        envs.step_wait()
    envs.step_async(np.zeros(5, int))
    for call in (envs.reset, partial(envs.step_async, np.zeros(5, int)), envs.render):
        with pytest.raises(VectorEnvError, match="while a step is under way; call step_wait"):
            call()
    assert envs.step_wait()[0].shape == (5, 4)


def test_actions_must_be_as_many_as_environments(envs):
    with pytest.raises(EnvironmentSettingError, match="4 actions for 5 environments"):
        envs.step(np.zeros(4, int))


def gone(pid):
    """Whether a process is no more, or dead and left for its parent (of which we are none)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"


def soon(condition, seconds=20):
    """Whether a condition comes true."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def shared_files():
    return {name for name in os.listdir("/dev/shm") if name.startswith("tmp")}


def test_closing_twice_or_forgetting_to_leaves_no_process_and_no_shared_memory(envs):
    before = shared_files()
    forgotten = cart_poles()
    pids = [process.pid for process in (*envs.processes, *forgotten.processes)]
    del forgotten
    gc.collect()
    envs.step_async(np.zeros(5, int))
    envs.close()
    envs.close()
    assert all(map(gone, pids))
    assert multiprocessing.active_children() == []
    assert shared_files() <= before
    with pytest.raises(VectorEnvError, match="the vector environment is closed"):
        envs.reset()


SCRIPT = """
import signal, sys
import gymnasium as gym
from macro_gym import MacroAction, MacroSet
from macro_gym.vector import MacroVectorEnv
signal.signal(signal.SIGINT, signal.default_int_handler)
def cart_pole():
    return MacroAction(gym.make("CartPole-v1"), MacroSet(("LEFT", "RIGHT"), ((0, 1, 1),)))
vectors = [MacroVectorEnv([cart_pole] * 3, num_workers=2) for _ in range(2)]
vectors[0].reset(seed=1)
print(*[process.pid for envs in vectors for process in envs.processes], flush=True)
if sys.argv[1] == "exit":
    sys.exit()
while True:
    vectors[0].step([0, 1, 2])
"""


@pytest.mark.parametrize("ending", ["exit", "SIGINT", "SIGKILL"])
def test_processes_end_with_their_caller_however_that_ends(ending):
    before = shared_files()
    caller = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, ending],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    pids = list(map(int, caller.stdout.readline().split()))
    assert len(pids) == 4
    if ending == "SIGINT":  # as Ctrl-C: to all of them
        os.killpg(caller.pid, signal.SIGINT)
    elif ending == "SIGKILL":
        caller.kill()
    _, errors = caller.communicate(timeout=30)
    assert soon(lambda: all(map(gone, pids)))
    assert shared_files() <= before
    assert errors.count("Traceback") == (ending == "SIGINT")
    assert "leaked" not in errors


def test_processes_can_be_started_anew_instead_of_forked():
    vector = breakout(1, context="spawn")
    assert_same_play(vector, one_by_one(1), decisions=5)


def test_any_environments_can_be_stepped_so():
    makers = [lambda: cart_pole(), cart_pole, cart_pole]
    terminated, _ = assert_same_play(
        MacroVectorEnv(makers, num_workers=2), SyncVectorEnv(makers), decisions=31
    )
    assert terminated > 3


def test_observations_may_be_numbers():
    maker = partial(gym.make, "CliffWalking-v1", is_slippery=True, max_episode_steps=11)
    assert_same_play(MacroVectorEnv([maker] * 3), SyncVectorEnv([maker] * 3), decisions=23)


def test_environments_of_different_spaces_are_refused():
    other = partial(cart_pole, ((0, 1),))  # one macro less
    with pytest.raises(EnvironmentSettingError, match=r"(?s)environment 1 has the spaces.*as many"):
        MacroVectorEnv([cart_pole, other])


def test_observations_that_are_no_arrays_are_refused():
    maker = partial(gym.make, "Blackjack-v1")
    with pytest.raises(ArgumentTypeError, match=r"which is no array; use .*AsyncVectorEnv"):
        MacroVectorEnv([maker])


@pytest.mark.parametrize(("n_envs", "n_workers", "name"), [(0, 1, "num_envs"), (1, 0, "num_work")])
def test_numbers_below_one_are_refused(n_envs, n_workers, name):
    with pytest.raises(EnvironmentSettingError, match=f"{name}.* is 0"):
        MacroVectorEnv([cart_pole] * n_envs, num_workers=n_workers)
