"""Sweeps that are run, in real processes, some of which are really killed."""

import csv
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
import torch as th

from macro_gym import MacroSet
from macro_gym.errors import MissingDependencyError
from sb3_masp import FixedSimilarity, run, save_similarity
from sb3_masp.checkpoint import load_checkpoint
from sb3_masp.cli import main
from sb3_masp.similarity import SimilarityAbout
from sb3_masp.sweeps import SweepError, execute, make_sweep, plan, processes, ray_cluster, worker
from sb3_masp.sweeps.execution import require_buildable, require_same
from sb3_masp.sweeps.results import columns, row, status
from sb3_masp.sweeps.worker import is_finished, read_state
from tests.processes import gone, soon

DECLARATION = {
    "seeds": [3],
    "games": ["CartPole-v1"],
    "fixed": {
        "frames": 250,
        "net_arch": [7],
        "learning_starts": 53,
        "batch_size": 7,
        "buffer_size": 211,
        "checkpoint_every": 40,
    },
    "arms": {"dqn": {"algorithm": "dqn"}, "masp": {"eta": 0.5}},
}
FAILING = """
import os
import signal
from pathlib import Path

import gymnasium as gym
from gymnasium.envs.classic_control import CartPoleEnv


class Failing(CartPoleEnv):
    seed, episodes = None, 0

    def reset(self, *, seed=None, options=None):
        self.seed = self.seed if seed is None else seed
        self.episodes += 1
        if self.episodes > 2 and not Path(__file__).with_name("mended").exists():
            if self.seed == 1:
                raise RuntimeError("the pole has broken")
            if self.seed == 3:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().reset(seed=seed, options=options)


gym.register("Failing-v0", Failing, max_episode_steps=500)
"""
TOML = """
seeds = [3]
games = ["CartPole-v1"]
[fixed]
frames = 250
net_arch = [7]
learning_starts = 53
batch_size = 7
buffer_size = 211
checkpoint_every = 40
[arms.dqn]
algorithm = "dqn"
[arms.masp]
eta = 0.5
"""


def lines(output):
    """The table without what differs between equal sweeps: the time that they took."""
    with (output / "results.csv").open() as file:
        return [
            {**row, "seconds": "some" if row["seconds"] else ""} for row in csv.DictReader(file)
        ]


def kill_mid_run(folder, killed):
    """Kill the process that works on a run once it has gone on from its second checkpoint."""
    end, seen = time.monotonic() + 60, set()
    while len(seen) < 2 and time.monotonic() < end:
        if (folder / run.CHECKPOINT).exists():
            seen.add((folder / run.CHECKPOINT).stat().st_mtime_ns)
        time.sleep(0.001)
    if not is_finished(folder):
        killed.append(read_state(folder).pid)
        os.kill(killed[0], signal.SIGKILL)


@pytest.fixture(scope="module")
def sequential(tmp_path_factory):
    """The folder of the sweep, run one after the other."""
    output = tmp_path_factory.mktemp("sequential")
    execute(make_sweep(DECLARATION, output), workers=1)
    return output


def test_a_sweep_is_its_runs_one_by_one(sequential, tmp_path):
    sweep = make_sweep(DECLARATION, sequential)
    rows = lines(sequential)
    assert [(row["arm"], row["seed"]) for row in rows] == [("dqn", "3"), ("masp", "3")]
    assert {row["status"] for row in rows} == {"finished"}
    last = make_sweep(DECLARATION, tmp_path).runs[-1].config
    model = run.train(last, progress_bar=False)
    for table in ("episodes.csv", "actions.csv"):
        alone = (last.folder / table).read_bytes()
        assert (sweep.runs[-1].config.folder / table).read_bytes() == alone
    expected = {"algorithm": "masp-dqn", "eta": "0.5", "frames": "250", "decisions": "250"}
    assert rows[-1] | expected | {"updates": str(model._n_updates)} == rows[-1]
    for name in ("summary.json", "summary.png"):
        assert (sequential / name).exists()
    log = (sweep.runs[-1].config.folder / "log.txt").read_text()
    assert "replay buffer: 211 decisions" in log
    assert "%|" not in log


def test_a_sweep_side_by_side_with_a_worker_killed_equals_the_sequential_one(sequential, tmp_path):
    sweep = make_sweep(DECLARATION, tmp_path)
    folder, killed = sweep.runs[1].config.folder, []
    killer = threading.Thread(target=kill_mid_run, args=(folder, killed))
    killer.start()
    execute(sweep, workers=2)
    killer.join()
    assert killed
    assert read_state(folder).attempts == 2
    assert (folder / "log.txt").read_text().count("replay buffer:") == 1  # said at a start
    assert lines(tmp_path) == lines(sequential)


def test_a_sweep_that_was_killed_goes_on_without_running_again_what_is_finished(
    sequential, tmp_path
):
    (tmp_path / "s.toml").write_text(TOML)
    output = tmp_path / "out"
    sweep = make_sweep(DECLARATION, output)
    first, second = (run.config.folder for run in sweep.runs[:2])
    words = ["sweep", str(tmp_path / "s.toml"), "--output", str(output), "--workers", "1"]
    with subprocess.Popen([sys.executable, "-m", "sb3_masp.cli", *words]) as process:
        while not (second / run.CHECKPOINT).exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    pid = read_state(second).pid
    written = (first / "model.zip").stat().st_mtime_ns
    assert main([*words, "--dry-run"]) == 0
    assert main(words) == 0
    assert lines(output) == lines(sequential)
    assert (first / "model.zip").stat().st_mtime_ns == written
    assert [read_state(run.config.folder).attempts for run in sweep.runs] == [1, 2]
    assert soon(lambda: gone(pid))
    assert (output / "sweep.toml").read_text() == TOML


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of a Ray cluster, of one CPU each, that listen to this machine only."""
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # Takes the loopback for this machine's address, as Ray does by default on other systems.
    patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    import ray
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "node_ip_address": "127.0.0.1"}
    nodes = Cluster()
    try:
        nodes.add_node(**node, include_dashboard=False)
        nodes.add_node(**node)
        yield nodes
    finally:
        ray.shutdown()
        nodes.shutdown()
        patch.undo()


def test_a_sweep_on_a_cluster_with_a_worker_killed_equals_the_sequential_one(
    sequential, cluster, tmp_path
):
    sweep = make_sweep(DECLARATION, tmp_path)
    folder, killed = sweep.runs[0].config.folder, []
    killer = threading.Thread(target=kill_mid_run, args=(folder, killed))
    killer.start()
    execute(sweep, ray=cluster.address)
    killer.join()
    assert killed
    assert read_state(folder).attempts == 2
    assert (folder / "log.txt").read_text().count("replay buffer:") == 1  # said at a start
    assert lines(tmp_path) == lines(sequential)


@pytest.mark.parametrize("where", ["here", "on a cluster"])
def test_ctrl_c_lets_runs_save_before_they_stop(where, sequential, tmp_path, request):
    places = {"workers": 1}
    if where == "on a cluster":
        places = {"ray": request.getfixturevalue("cluster").address}
    fixed = DECLARATION["fixed"] | {"frames": 2_000, "checkpoint_every": 100_000}
    sweep = make_sweep(DECLARATION | {"fixed": fixed}, tmp_path)
    folder = sweep.runs[0].config.folder

    def interrupt():
        while read_state(folder).share < 0.02:
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        execute(sweep, **places)
    stopped = load_checkpoint(folder / run.CHECKPOINT)
    assert 40 <= stopped.model.num_timesteps < 2_000
    assert lines(tmp_path)[0]["status"] == "unfinished"
    assert plan(sweep).splitlines()[1].endswith("unfinished")


def test_failed_runs_are_told_and_stop_no_others_and_are_tried_again(tmp_path, monkeypatch, capsys):
    (tmp_path / "failing.py").write_text(FAILING)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(processes, "RETRIES", 1)
    declaration = TOML.replace("[3]", "[1, 2, 3]").replace("CartPole-v1", "failing:Failing-v0")
    (tmp_path / "s.toml").write_text(declaration.split("[arms.dqn]")[0])
    words = ["sweep", str(tmp_path / "s.toml"), "--output", str(tmp_path / "out")]
    assert main(words) == 2
    assert (tmp_path / "out" / "sweep.toml").read_bytes() == (tmp_path / "s.toml").read_bytes()
    assert "2 of 3 runs failed" in (told := capsys.readouterr().err)
    assert "seed1: RuntimeError: the pole has broken" in told
    failed, finished, dead = lines(tmp_path / "out")
    assert [row["status"] for row in (failed, finished, dead)] == ["failed", "finished", "failed"]
    assert dead["error"] == "its process died 2 times, last with exit code -9"
    assert failed["error"] == "RuntimeError: the pole has broken"
    assert failed["final_score"] == failed["frames"] == ""
    (log,) = (tmp_path / "out").glob("runs/all/*/seed1/log.txt")
    assert "Traceback" in log.read_text()
    (tmp_path / "mended").touch()
    assert main(words) == 0
    assert [row["status"] for row in lines(tmp_path / "out")] == ["finished"] * 3


def test_two_processes_do_not_work_on_one_run(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "PATIENCE", 0.2)
    config = make_sweep(DECLARATION, tmp_path).runs[0].config
    config.folder.mkdir(parents=True)
    with (config.folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(
            SweepError, match=r"another process is at work on .*seed3; is the sweep"
        ):
            worker.see_through(config, tmp_path)
    assert [path.name for path in config.folder.iterdir()] == ["lock"]


def test_a_worker_that_does_not_see_the_folder_says_so(tmp_path):
    output = tmp_path / "elsewhere"
    with pytest.raises(SweepError, match=r"has no .*elsewhere: it must be a shared folder"):
        worker.see_through(make_sweep(DECLARATION, output).runs[0].config, output)
    assert not output.exists()


def test_a_begun_sweep_can_get_runs_but_no_other_settings(sequential):
    more = DECLARATION | {"arms": {"masp": {"eta": 0.5}, "new": {"eta": 0.1}}, "seeds": [3, 7]}
    standing = [line.split()[-1] for line in plan(make_sweep(more, sequential)).splitlines()[1:-1]]
    assert standing == ["finished", "waiting", "waiting", "waiting"]
    other = DECLARATION | {"fixed": DECLARATION["fixed"] | {"frames": 500}}
    with pytest.raises(SweepError, match=r"was started with other .*frames was 250 and is 500"):
        execute(make_sweep(other, sequential))
    other = DECLARATION | {"arms": {"masp": {"eta": 0.7}}}
    with pytest.raises(SweepError, match=r"eta was 0\.5 and is 0\.7\. A sweep can be given more"):
        execute(make_sweep(other, sequential))


def test_budgets_that_differ_stand_in_one_column(tmp_path):
    arms = {"short": {"frames": 250}, "long": {"frames": 500}}
    fixed = {name: value for name, value in DECLARATION["fixed"].items() if name != "frames"}
    sweep = make_sweep(DECLARATION | {"fixed": fixed, "arms": arms}, tmp_path)
    assert columns(sweep).count("frames") == 1
    rows = [row(run, sweep) for run in sweep.runs]
    assert [list(each) for each in rows] == [list(columns(sweep))] * 2
    assert [each["frames"] for each in rows] == [250, 500]


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        ({"eta": -1.0}, "arm 'x' on CartPole-v1: eta is -1.0; it must be at least 0"),
        ({"similarity": "cosine"}, "arm 'x' on CartPole-v1: similarity is 'cosine'; it may be"),
        ({"k": 5}, "arm 'x' on CartPole-v1: --k and --obs-type are for games with macros"),
    ],
)
def test_what_a_learner_would_refuse_is_refused_before_anything_runs(arm, message, tmp_path):
    sweep = make_sweep(DECLARATION | {"arms": {"fine": {}, "x": arm}}, tmp_path / "out")
    with pytest.raises(SweepError, match=message):
        execute(sweep)
    assert not (tmp_path / "out").exists()


def test_runs_that_need_a_gpu_are_checked_where_there_is_none(tmp_path):
    fixed = DECLARATION["fixed"] | {"cuda_graph": True}
    require_buildable(make_sweep(DECLARATION | {"fixed": fixed}, tmp_path))


def test_macros_that_have_changed_since_are_refused(tmp_path):
    MacroSet(("0", "1"), ((0, 0), (1, 1, 0))).save(tmp_path / "macros.json")
    macros = {"macros": "macros.json"}
    declaration = DECLARATION | {"fixed": DECLARATION["fixed"] | macros, "arms": {"masp": {}}}
    execute(make_sweep(declaration, tmp_path / "out", base=tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "macros.json").rename(tmp_path / "elsewhere" / "macros.json")
    more = declaration | {"seeds": [3, 7]}
    moved = make_sweep(more, tmp_path / "out", base=tmp_path / "elsewhere")
    require_same(moved)
    MacroSet(("0", "1"), ((0, 0), (1, 0, 1))).save(tmp_path / "macros.json")
    with pytest.raises(SweepError, match=r"seed3 was started with other macros than there are now"):
        execute(make_sweep(more, tmp_path / "out", base=tmp_path))


@pytest.mark.parametrize("setting", ["similarity", "similarity_start"])
def test_a_file_of_a_similarity_that_has_changed_since_is_refused(setting, tmp_path):
    file = tmp_path / "s.safetensors"
    about = SimilarityAbout(("0", "1"))
    save_similarity(file, FixedSimilarity(th.tensor([[0.0, 1.0], [1.0, 0.0]])), about)
    declaration = DECLARATION | {"arms": {"masp": {setting: file.name}}}
    sweep = make_sweep(declaration, tmp_path / "out", base=tmp_path)
    config = sweep.runs[0].config
    run._write_json(config.folder / "config.json", run._about(config))
    require_same(sweep)
    save_similarity(file, FixedSimilarity(th.tensor([[0.5, 0.5], [0.5, 0.5]])), about)
    with pytest.raises(SweepError, match=f"seed3 was started with another file of {setting} than"):
        execute(make_sweep(declaration | {"seeds": [3, 7]}, tmp_path / "out", base=tmp_path))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--gpus-per-run", "-3", "--ray", "auto"], "--gpus-per-run is -3.0; it must be at least"),
        (["--gpus-per-run", "0.5"], "it goes with --ray"),
        ([], "s.toml is no file; masp sweep takes a declaration"),
    ],
)
def test_a_command_that_cannot_be_meant_is_refused_in_words(words, message, tmp_path, capsys):
    if words:
        (tmp_path / "s.toml").write_text(TOML)
    assert main(["sweep", str(tmp_path / "s.toml"), "--dry-run", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_cluster_without_ray_installed_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'macro-gym\[ray\]', on every"):
        execute(make_sweep(DECLARATION, tmp_path), ray="auto")


def test_a_run_that_ended_on_a_node_without_a_trace_here_has_failed(tmp_path):
    sweep = make_sweep(DECLARATION, tmp_path)
    ended = ray_cluster._seen(sweep.runs[0], tmp_path)
    assert status(ended) == "failed"
    assert "here shows nothing: is it shared?" in read_state(ended.config.folder).error


def test_an_address_without_a_cluster_is_refused(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(SweepError, match=f"nobody answers at {address}, Ray's address: .*refused"):
        execute(make_sweep(DECLARATION, tmp_path), ray=address)


def test_no_workers_are_refused(tmp_path):
    with pytest.raises(SweepError, match="workers is 0; it must be at least 1"):
        execute(make_sweep(DECLARATION, tmp_path), workers=0)
