import sys
from pathlib import Path

import numpy as np
import pytest

import sb3_masp
from sb3_masp import slabs
from sb3_masp.buffers import MacroReplayBuffer
from sb3_masp.decisions import primitive_rewards
from tests.sb3_masp.replay import ACTIONS, DICT, SPACES, play

ROWS = 11
PACKAGE = str(Path(sb3_masp.__file__).parent)


def operations(function, *arguments):
    """Python operations that the package's own code runs in a call, by file."""
    counts = {}

    def trace(frame, event, _):
        file = frame.f_code.co_filename
        if not file.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes = True
        counts[Path(file).name] = counts.get(Path(file).name, 0) + (event == "opcode")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(*arguments)
    finally:
        sys.settrace(before)
    return counts


def adding(space, n_envs, compress):
    """Operations of adding rows, but the first, after which the memory taken is estimated once."""
    buffer = MacroReplayBuffer(
        5 * n_envs, space, ACTIONS, "cpu", n_envs, n_steps=3, prioritized=True, compress=compress
    )
    first, *rest = play(0, space, n_envs, 1 + ROWS, longest=3, outside=1.0)
    buffer.add(*first)
    counts = [operations(buffer.add, *decisions) for decisions in rest]
    return {name: sum(count[name] for count in counts) for name in counts[0]}


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("space", [SPACES["vector"], SPACES["stack"], DICT], ids=str)
def test_adding_takes_no_more_python_however_many_environments_there_are(
    space, compress, monkeypatch
):
    # All at once: what it takes to find memory goes by bytes.
    monkeypatch.setattr(slabs, "SMALLEST", 2**24)
    few, many = (adding(space, n_envs, compress) for n_envs in (5, 61))
    ours = {"buffers.py", "observation_store.py", "slabs.py", "packing.py", "decisions.py"}
    assert ours <= few.keys()
    # All but what reads the list of infos: a comprehension for each of three fields.
    reading = {"buffers.py": 1, "decisions.py": 2}
    for name, count in few.items():
        per_info = (many[name] - count) / (ROWS * (61 - 5))
        assert per_info <= 15 * reading.get(name, 0), name


def test_environments_may_report_rewards_of_different_lengths_or_none():
    infos = [
        {"duration": 2, "primitive_rewards": np.array([1, 2, 9], np.float32)},
        {},
        {"duration": 4, "primitive_rewards": [1, 0, 0, 3, 7]},
        {"duration": 1, "primitive_rewards": (4.0,)},
    ]
    table, durations = primitive_rewards(infos, np.array([3.0, -0.3, 4.0, 4.0]))
    assert table.tolist() == [[1, 2, 0, 0], [-0.3, 0, 0, 0], [1, 0, 0, 3], [4, 0, 0, 0]]
    assert durations.tolist() == [2, 1, 4, 1]
