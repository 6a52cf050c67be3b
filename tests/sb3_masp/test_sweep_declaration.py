"""What sweeps' declarations mean, and what is refused."""

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from macro_gym import MacroSet
from sb3_masp.run_config import LearnerConfig, TrainConfig
from sb3_masp.sweeps import SweepError, make_sweep, plan, read_sweep

OUTPUT = Path("somewhere").resolve()
SMALL = {"seeds": 2, "games": ["CartPole-v1"]}


def test_a_grid_is_every_combination_on_every_game_with_every_seed_in_the_order_of_the_file():
    games, seeds, etas, ks = ["MacroALE/Pong-v5", "MacroALE/Breakout-v5"], [7, 3], [1, 0.1], [5, 2]
    sweep = make_sweep(
        {
            "seeds": seeds,
            "games": games,
            "fixed": {"frames": 500, "obs_type": "ram", "net_arch": [7, 13], "eta": 5.0},
            "grid": {"eta": etas, "k": ks},
        },
        OUTPUT,
    )
    expected = []
    for eta, k, game, seed in itertools.product(etas, ks, games, seeds):
        arm = f"eta={float(eta)},k={k}"
        config = TrainConfig(
            env=game,
            frames=500,
            k=k,
            obs_type="ram",
            seed=seed,
            net_arch=(7, 13),
            threads=1,
            run=OUTPUT / "runs" / arm / game.replace("/", "-") / f"seed{seed}",
            learner=LearnerConfig(eta=eta),
        )
        expected.append((arm, config))
    assert [(run.arm, run.config) for run in sweep.runs] == expected
    assert sweep.swept == ("eta", "k")
    assert sweep.last_share == 0.3


def test_arms_stand_beside_the_grid_go_before_what_is_fixed_and_may_have_grids_of_their_own():
    sweep = make_sweep(
        SMALL
        | {
            "seeds": 1,
            "fixed": {"frames": 100, "threads": 3, "batch_size": 5},
            "grid": {"eta": [2]},
            "arms": {
                "plain": {"algorithm": "dqn", "batch_size": 7},
                "uniform": {"similarity_frozen": True, "grid": {"eta": [0.1, 0.3]}},
            },
        },
        OUTPUT,
    )
    said = [
        (run.arm, run.config.algorithm, run.config.learner.eta, run.config.learner.batch_size)
        for run in sweep.runs
    ]
    assert said == [
        ("eta=2.0", "masp-dqn", 2.0, 5),
        ("plain", "dqn", None, 7),
        ("uniform,eta=0.1", "masp-dqn", 0.1, 5),
        ("uniform,eta=0.3", "masp-dqn", 0.3, 5),
    ]
    assert [run.config.learner.similarity_frozen for run in sweep.runs] == [False] * 2 + [True] * 2
    assert {run.config.threads for run in sweep.runs} == {3}
    assert sweep.swept == ("eta", "algorithm", "batch_size", "similarity_frozen")


def test_a_sweep_without_grid_and_arms_has_one_arm_and_one_with_arms_alone_those():
    assert {run.arm for run in make_sweep(SMALL, OUTPUT).runs} == {"all"}
    named = make_sweep(SMALL | {"arms": {"one": {}, "two": {"eta": 1.0}}}, OUTPUT)
    assert [run.arm for run in named.runs] == ["one", "one", "two", "two"]


def test_files_are_relative_to_the_declaration_and_forms_are_no_files(tmp_path):
    MacroSet(("LEFT", "RIGHT"), ((0, 0),)).save(tmp_path / "macros.json")
    (tmp_path / "start").write_text("any")
    (tmp_path / "uniform").mkdir()
    (tmp_path / "sweep.toml").write_text(
        "seeds = 1\ngames = ['CartPole-v1']\n[fixed]\nmacros = 'macros.json'\n"
        "[grid]\nsimilarity_start = ['uniform', 'start', 'random']\n"
    )
    runs = read_sweep(tmp_path / "sweep.toml", OUTPUT).runs
    assert {run.config.macros for run in runs} == {tmp_path / "macros.json"}
    starts = [run.config.learner.similarity_start for run in runs]
    assert starts == ["uniform", str(tmp_path / "start"), "random"]


def test_files_of_weights_are_relative_to_the_declaration_too(tmp_path):
    for name in ("table", "learned"):
        (tmp_path / name).write_text("any")
    (tmp_path / "sweep.toml").write_text(
        "seeds = 1\ngames = ['CartPole-v1']\n[fixed]\nalgorithm = 'pairwise-a2c'\n"
        "[grid]\nweights = ['table', 'learned']\n"
    )
    runs = read_sweep(tmp_path / "sweep.toml", OUTPUT).runs
    weights = [run.config.learner.weights for run in runs]
    assert weights == ["table", str(tmp_path / "learned")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 0}, "f.toml: seeds is 0; it must be how many, 1 or more, or a list"),
        ({"seeds": [1, 1]}, r"seeds is \[1, 1\]; it must be .* list of different numbers"),
        ({"seeds": True}, "seeds is True; it must be how many"),
        ({"games": []}, r"games is \[\]; it must be a list of different ids"),
        ({"games": "CartPole-v1"}, "games is 'CartPole-v1'; it must be a list"),
        ({"last_share": 0}, "last_share is 0; it must be above 0, and at most 1"),
        ({"eta": 1}, r"eta means nothing there; .*settings of all runs go under \[fixed\]"),
        ({"fixed": 3}, r"\[fixed\] is 3; it must be a table"),
        (
            {"fixed": {"etta": 1}},
            r"\[fixed\] etta is no setting; there are advantage, algorithm, .*eta, ",
        ),
        ({"fixed": {"eta": "x"}}, r"\[fixed\] eta is 'x'; it must be a number"),
        ({"fixed": {"frames": 1.5}}, r"\[fixed\] frames is 1.5; it must be a whole number"),
        ({"fixed": {"frames": True}}, r"frames is True; it must be a whole number"),
        ({"fixed": {"double_q": 1}}, "double_q is 1; it must be true or false"),
        ({"fixed": {"net_arch": [7, "x"]}}, "it must be a list, each a whole number"),
        ({"fixed": {"algorithm": "a2c"}}, "'a2c'; it must be 'masp-dqn' or .* or 'dqn'"),
        ({"fixed": {"env": "x"}}, r"\[fixed\] env cannot be set there; list the environments"),
        ({"grid": {"seed": [1]}}, r"\[grid\] seed cannot be set there; say at the top how many"),
        ({"grid": {"run": ["x"]}}, r"\[grid\] run cannot be set there; every run has its folder"),
        ({"grid": {"eta": 1}}, r"\[grid\] eta is 1; it must be a list of values"),
        ({"grid": {"eta": []}}, r"\[grid\] eta is \[\]; it must be a list of values"),
        ({"grid": {"eta": [1, 1.0]}}, r"eta is \[1, 1.0\]; it must be a list of different values"),
        ({"grid": {"macros": ["a/m", "b/m"]}}, r"\[grid\] makes two arms called 'macros=m'"),
        ({"arms": {"x": {"grid": 3}}}, r"\[arms.x.grid\] is 3; it must be a table"),
        ({"fixed": {"frames": 0}}, "arm 'all', seed 0: --frames is 0; it must be at least 1"),
        ({"grid": {"gamma": [2]}}, "arm 'gamma=2.0', seed 0: --gamma is 2.0; it must be within"),
        ({"seeds": [-1]}, "seed -1: --seed is -1; it must be within 0..4294967295"),
        (
            {"arms": {"x": {"algorithm": "dqn", "eta": 1}}},
            "arm 'x', seed 0: --eta is no setting of dqn",
        ),
        (
            {"grid": {"eta": [1.0]}, "arms": {"eta=1.0": {}}},
            "two arms are called 'eta=1.0'",
        ),
        ({"arms": {"a b": {}, "a/b": {}}}, "names of arms or games differ in punctuation only"),
    ],
)
def test_what_means_nothing_is_refused_by_name(change, message):
    with pytest.raises(SweepError, match=message):
        make_sweep(SMALL | change, OUTPUT, "f.toml")


def test_what_is_no_toml_is_refused(tmp_path):
    (tmp_path / "s.toml").write_text("seeds = = 2")
    with pytest.raises(SweepError, match=r"s.toml is not TOML: .*line 1, column 9"):
        read_sweep(tmp_path / "s.toml", OUTPUT)


def test_every_setting_of_a_run_can_be_swept_or_is_said_elsewhere():
    values = {
        "algorithm": "rainbow",
        "macros": "m",
        "macros_unmapped": "drop",
        "obs_type": "ram",
        "net_arch": [5],
        "options": {"screen_size": 37},
        "device": "cpu",
        "similarity_unmapped": "uniform",
    }
    config = TrainConfig()
    for name in set(vars(config)) - {"env", "seed", "run", "learner"}:
        if name == "similarity_unfreeze_at":  # goes with another one
            continue
        sweep = make_sweep(SMALL | {"fixed": {name: values.get(name, 2)}}, OUTPUT)
        assert getattr(sweep.runs[0].config, name) != getattr(config, name), name


def test_options_of_the_environment_can_be_swept():
    options = [{"screen_size": 37, "frameskip": 5}, {"screen_size": 41}]
    sweep = make_sweep(SMALL | {"grid": {"options": options}}, OUTPUT)
    assert [run.config.options for run in sweep.runs[:: len(sweep.runs) // 2]] == options
    assert sweep.runs[0].arm == "options=screen_size 37-frameskip 5"
    with pytest.raises(SweepError, match="a list of different values"):
        make_sweep(SMALL | {"grid": {"options": options[:1] * 2}}, OUTPUT)


def test_the_example_is_a_sweep_whose_plan_counts_its_frames(tmp_path):
    sweep = read_sweep(Path("examples/sweep.toml"), tmp_path)
    assert len(sweep.runs) == (6 + 3 + 1 + 1) * 5
    lines = plan(sweep).splitlines()
    assert len(lines) == 1 + 55 + 1
    assert lines[0].split() == ["arm", "game", "seed", "frames", "status"]
    assert lines[-1] == "55 runs, 33,000,000 frames, of which 33,000,000 are to do"
    assert replace(sweep.runs[0].config, run=None).frames == 600_000
