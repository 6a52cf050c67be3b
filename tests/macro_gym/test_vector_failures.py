"""MacroVectorEnv: errors, killed processes, interrupted steps, and nothing left behind."""

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

import gymnasium as gym
import numpy as np
import pytest

from macro_gym.errors import ActionSpaceError, ArgumentTypeError, InvalidMacroError, VectorEnvError
from macro_gym.vector import MacroVectorEnv
from tests.macro_gym.vectors import SEED, assert_same, breakout, cart_pole, cart_poles
from tests.processes import gone, soon


def test_an_error_names_its_environment_and_where_it_arose_and_the_rest_goes_on(envs):
    with pytest.raises(
        ActionSpaceError, match=r"(?s)999.*in environment 3 of the vector.*\n.*in expand"
    ):
        envs.step(np.array([0, 0, 0, 999, 0]))
    for actions in ([1, 1, 1, 1.9, 1], np.array([1, 1, 1, 1.9, 1])):
        with pytest.raises(ArgumentTypeError, match=r"(?s)integer.*in environment \d of the vec"):
            envs.step(actions)
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
