"""The experiment on small problems: its exact values, its macros, and how runs are gone on with."""

import itertools
import json
import shlex
import sys
from functools import partial

import numpy as np
import pytest
import torch as th
from gymnasium.utils.env_checker import check_env
from torch.nn import functional as F

from examples.experiments.arms import ARMS, eta
from examples.experiments.learners import LEARNERS, make_learner
from examples.experiments.oracles import READING_STATES, StateOracle, oracle_similarity
from examples.experiments.problems import GAMMA, PROBLEMS, TableEnv, macro_env, macros, play
from examples.experiments.rows import Cell, Results, Run, read_rows
from examples.experiments.run_table import ExperimentError
from examples.experiments.runs import (
    chosen_strength,
    complete,
    estimate,
    missing,
    reported_runs,
)
from examples.experiments.small_problems import Budget, Looks, Settings, cells, learn, train
from examples.experiments.table import (
    Table,
    epsilon_greedy_values,
    optimal_q_values,
    with_macros,
)
from macro_gym import MacroSet
from sb3_masp.callbacks import FrameBudget

CELL = Cell("chain", 5, 0.5, "decision")
TINY = Budget(steps=260, looks=4, learner=Budget().learner | {"learning_starts": 30})


def random_table(rng, n_states=7, n_actions=3):
    shape = (n_states, n_actions)
    ends = rng.random(shape) < 0.2
    return Table(rng.integers(n_states, size=shape), rng.normal(size=shape), 0.9 * ~ends)


def rolled_out(table, state, actions):
    """What a sequence pays from a state, its weight afterwards, and where it leads."""
    total, weight = 0.0, 1.0
    for action in actions:
        total += weight * table.rewards[state, action]
        weight *= table.discounts[state, action]
        state = table.next_states[state, action]
        if weight == 0:
            break
    return total, weight, state


def test_value_iteration_finds_the_best_of_all_sequences():
    table = random_table(np.random.default_rng(5))
    horizon = 9
    q_values = optimal_q_values(table)
    bound = 0.9**horizon * np.abs(q_values).max() * 2
    for state, first in itertools.product(range(7), range(3)):
        best = max(
            rolled_out(table, state, (first, *rest))[0]
            for rest in itertools.product(range(3), repeat=horizon - 1)
        )
        assert q_values[state, first] == pytest.approx(best, abs=bound)
    assert bound < 3


def test_values_with_macros_are_those_of_running_their_primitives_to_the_episodes_end():
    table = random_table(np.random.default_rng(3))
    macro_set = MacroSet(("A", "B", "C"), ((0, 1), (2, 2, 1, 0, 1), (1, 1, 1)))
    longer = with_macros(table, macro_set)
    ended = 0
    for state, action in itertools.product(range(7), range(macro_set.n_actions)):
        total, weight, after = rolled_out(table, state, macro_set.expand(action))
        assert longer.rewards[state, action] == pytest.approx(total)
        assert longer.discounts[state, action] == pytest.approx(weight)
        ended += weight == 0
        if weight:
            assert longer.next_states[state, action] == after
    assert ended > 6
    # Macros add nothing that primitives cannot do.
    np.testing.assert_allclose(
        optimal_q_values(longer).max(axis=1), optimal_q_values(table).max(axis=1)
    )


def test_the_value_of_a_policy_is_the_mean_return_of_playing_it():
    rng = np.random.default_rng(11)
    table, q_values = random_table(rng), rng.normal(size=(7, 3))
    returns = []
    for _ in range(4_000):
        state, total, weight = 2, 0.0, 1.0
        while weight > 1e-3:
            action = rng.integers(3) if rng.random() < 0.3 else q_values[state].argmax()
            total += weight * table.rewards[state, action]
            weight *= table.discounts[state, action]
            state = table.next_states[state, action]
        returns.append(total)
    value = epsilon_greedy_values(table, q_values, 0.3)[2]
    assert value == pytest.approx(np.mean(returns), abs=4 * np.std(returns) / 4_000**0.5)


def test_without_random_decisions_the_policy_of_the_best_values_has_the_best_values():
    table = random_table(np.random.default_rng(2))
    q_values = optimal_q_values(table)
    np.testing.assert_allclose(epsilon_greedy_values(table, q_values, 0.0), q_values.max(axis=1))


@pytest.mark.parametrize(
    ("name", "steps"),
    [("rooms, near", 10), ("rooms, far", 20), ("key and door", 20), ("chain", 24)],
)
def test_the_shortest_way_has_the_value_that_is_said_and_no_shorter_one_is_there(name, steps):
    problem = PROBLEMS[name]()
    assert problem.best == pytest.approx(GAMMA ** (steps - 1))
    reached, distance = {problem.start}, 0
    while not any(problem.table.discounts[state].min() == 0 for state in reached):
        reached |= {int(n) for state in reached for n in problem.table.next_states[state]}
        distance += 1
    assert distance + 1 == steps
    check_env(TableEnv(problem), skip_render_check=True)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_environment_does_what_the_table_says_with_macros_too(name):
    problem = PROBLEMS[name]()
    macro_set = macros(name, 23, 0.5, seed=1)
    table, env = with_macros(problem.table, macro_set), macro_env(problem, macro_set)
    rng, ends = np.random.default_rng(0), 0
    for _ in range(40):
        state, _ = env.reset()
        assert state == problem.start
        over = steps = 0
        while not over:
            action = rng.integers(macro_set.n_actions)
            after, reward, ended, cut, info = env.step(action)
            steps += info["duration"]
            assert cut == (steps >= problem.limit)
            if ended or not cut:
                discount = 0 if ended else GAMMA ** info["duration"]
                assert table.discounts[state, action] == pytest.approx(discount)
                assert reward * GAMMA ** (info["duration"] - 1) == pytest.approx(
                    table.rewards[state, action]
                )
                assert after == table.next_states[state, action] or ended
            state, over = after, ended or cut
            ends += ended
    assert ends > 0


def test_macros_are_mined_ones_and_random_ones_in_the_share_that_is_asked_for():
    mined, half, none = (macros("chain", 31, share, seed=4) for share in (1.0, 0.5, 0.0))
    assert half.macros[:16] == mined.macros[:16]
    assert not {*half.macros[16:], *none.macros} & {*mined.macros}
    assert len(none.macros) == len(half.macros) == 31
    assert macros("chain", 31, 0.5, seed=5) != half
    assert macros("chain", 0, 0.0, seed=4).macros == ()


def test_play_is_by_one_who_knows_the_way_and_errs():
    problem = PROBLEMS["rooms, far"]()
    episodes = list(play(problem, np.random.default_rng(1), 4_000))
    lengths = [len(episode.actions) for episode in episodes]
    assert 4_000 <= sum(lengths) < 4_000 + problem.limit
    best = -np.log(optimal_q_values(problem.table).max(axis=1)[:-1]) / -np.log(GAMMA) + 1
    assert 1.0 < np.mean(lengths) / best.mean() < 1.4


@pytest.mark.parametrize("name", PROBLEMS)
def test_there_are_macros_enough_for_the_largest_sets(name):
    assert len(macros(name, 1024, 1.0, seed=0).macros) == 1024


def test_the_oracle_gives_actions_of_like_values_to_each_other():
    q_values = np.array([[0.0, 0.1, 1.0, 3.0], [1.0, 1.2, 0.0, 5.0], [2.0, 2.0, 1.0, 0.0]])
    similarity = oracle_similarity(q_values)().numpy()
    distances = ((q_values[:, :, None] - q_values[:, None]) ** 2).mean(axis=0)
    mean = distances.sum() / 12
    weights = np.exp(-distances / (0.1 * mean)) * (1 - np.eye(4))
    expected = weights / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(similarity, expected, atol=1e-6)
    assert similarity[0].argmax() == 1


def test_the_oracle_of_states_knows_the_true_values_of_the_state_it_is_asked_about():
    q_values = np.array([[0.0, 0.1, 1.0, 3.0], [1.0, 1.2, 0.0, 5.0], [2.0, 2.0, 2.0, 2.0]])
    oracle = StateOracle(q_values)
    asked = th.tensor([2, 0, 1, 0])
    found = oracle.at(F.one_hot(asked, 3).float())
    for state, similarity in zip(asked, found, strict=True):
        th.testing.assert_close(similarity, oracle_similarity(q_values[[state]])())
    assert found[1, 0].argmax() == 1
    th.testing.assert_close(found[0], (1 - th.eye(4)) / 3)
    th.testing.assert_close(oracle.at(), (found[0] + found[1] + found[2]) / 3)


@pytest.mark.parametrize("updates", LEARNERS)
def test_learners_that_read_states_are_those_of_other_arms_but_for_that(updates):
    problem, macro_set = PROBLEMS["chain"](), macros("chain", 5, 0.5, 0)
    shared = {"train_freq": 2, "learning_starts": 3, "similarity": "state"}
    env = macro_env(problem, macro_set)
    model = make_learner(env, 0, shared, {}, {}, updates, READING_STATES)
    assert isinstance(model, LEARNERS[updates])
    n_states = len(problem.table.rewards)
    states = model.trunk_features(th.tensor([[3], [0], [3]]))
    assert th.equal(states, th.eye(n_states)[[3, 0, 3]])
    assert model.similarity.strengths.shape[1] == n_states


def test_every_arm_learns_and_says_what_it_took():
    for arm, about in ARMS.items():
        cell = CELL if about.has_macros else Cell("chain", 0, 0.0, "decision")
        row = learn(TINY, Run(cell, arm, about.strengths[-1], 3))
        assert row["steps"] >= TINY.steps
        assert 0 <= row["area"] <= 1
        assert row["updates_taken"] == pytest.approx((row["decisions"] - 30) / 2, abs=1)
        assert row["spread"] > 0


def test_a_run_is_what_its_settings_say_whatever_ran_before():
    run = Run(CELL, "meta", "1", 7)
    first = learn(TINY, run)
    learn(TINY, Run(CELL, "uniform", "1", 8))
    again = learn(TINY, run)
    assert first | {"seconds": 0} == again | {"seconds": 0}
    assert learn(TINY, Run(CELL, "meta", "1", 8))["area"] != first["area"]


def test_updates_by_steps_are_as_many_a_step_with_macros_as_without():
    budget = Budget(steps=900, looks=3, learner=TINY.learner)
    taken = {}
    for updates, k in itertools.product(("decision", "step"), (0, 11)):
        arm = "macros" if k else "primitives"
        taken[updates, k] = learn(budget, Run(Cell("chain", k, 0.5, updates), arm, "", 1))
    without, with_them = taken["step", 0], taken["step", 11]
    assert with_them["updates_taken"] == pytest.approx(without["updates_taken"], rel=0.12)
    assert with_them["decisions"] < 0.7 * without["decisions"]
    assert taken["decision", 11]["updates_taken"] < 0.7 * with_them["updates_taken"]
    same = taken["decision", 0] | {"seconds": 0}
    assert without | {"seconds": 0} == same


def test_annealed_is_from_3_to_0_3_over_the_run():
    schedule = eta("annealed")
    assert [schedule(share) for share in (1.0, 0.5, 0.0)] == pytest.approx([3.0, 1.65, 0.3])
    assert eta("0.3") == 0.3
    decayed = ARMS["weight decay"].learner_arguments("10")
    assert decayed["policy_kwargs"]["optimizer_class"] is th.optim.AdamW
    assert decayed["policy_kwargs"]["optimizer_kwargs"] == {"weight_decay": 10.0}
    assert decayed["eta"] == 0
    run = Run(CELL, "weight decay", "10", 0)
    macro_set = macros(CELL.problem, CELL.k, CELL.share, 0)
    policy = train(TINY, run, macro_set, decayed, FrameBudget(TINY.steps))[0].policy
    assert policy.net_arch == [64]
    assert isinstance(policy.optimizer, th.optim.AdamW)


def made_up(run):
    """Results that depend on the run, without a run."""
    digest = sum(map(ord, f"{run.arm}{run.strength}{run.cell.problem}")) % 17
    return {"area": digest / 17 + run.seed % 7 / 100, "steps": 12, "seconds": 1.0 + run.seed % 3}


ARMS_OF_TEST = ("primitives", "uniform", "overlap")


def test_what_was_stopped_goes_on_and_comes_to_the_same_rows(tmp_path):
    grid = [CELL, Cell("key and door", 5, 0.5, "decision"), Cell("chain", 7, 0.5, "decision")]
    run = partial(complete, cells=grid, arms=ARMS_OF_TEST, seeds=(2, 3), workers=1)
    whole = Results(tmp_path / "whole.csv", {"steps": 1})
    run(whole, work=made_up)
    path, done = tmp_path / "stopped.csv", []

    def stops_after(n):
        def work(asked):
            if len(done) % n == n - 1:
                done.append(None)
                raise KeyboardInterrupt
            assert asked not in done
            done.append(asked)
            return made_up(asked)

        return work

    stops = 0
    while missing(read_rows(path), grid, ARMS_OF_TEST, (2, 3)):
        try:
            run(Results(path, {"steps": 1}), work=stops_after(23))
        except KeyboardInterrupt:
            stops += 1
    assert stops >= 3
    assert path.read_bytes() == whole.path.read_bytes()
    # Primitives are the same for every k: twice 3 runs, not three times.
    assert sum(r.arm == "primitives" for r in whole.rows) == 6
    assert json.loads((tmp_path / "stopped.json").read_text())["settings"] == {"steps": 1}


def test_every_command_that_rows_come_from_is_kept_once(tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    for number, command in enumerate(("first", "first", "second 'one, two'", "first")):
        monkeypatch.setattr(sys, "orig_argv", ["python", *shlex.split(command)])
        results = Results(path, {"steps": 1})
        results.note_origin()
        run = Run(CELL, "uniform", "1", number)
        results.add(run, made_up(run))
    about = json.loads(path.with_suffix(".json").read_text())
    assert about["command"] == "python first"
    assert [one["command"] for one in about["earlier"]] == ["python second 'one, two'"]
    assert about["earlier"][0].keys() == {"command", "machine", "versions"}


def test_rows_stand_in_the_order_of_the_runs_whichever_ended_first(tmp_path):
    runs = [Run(CELL, "uniform", "1", seed) for seed in (0, 1, 2, 10, 100)]
    for name, order in (("first", runs), ("second", runs[::-1])):
        results = Results(tmp_path / f"{name}.csv", {})
        for run in order:
            results.add(run, made_up(run))
    assert (tmp_path / "first.csv").read_text() == (tmp_path / "second.csv").read_text()
    assert list(read_rows(tmp_path / "second.csv").items()) == [(r, made_up(r)) for r in runs]


def test_runs_in_processes_come_to_the_same_rows(tmp_path):
    rows = []
    for workers in (1, 2):
        results = Results(tmp_path / f"{workers}.csv", {})
        work = partial(learn, TINY)
        complete(results, [CELL], ("macros", "primitives"), (1, 2), work, workers)
        rows.append({run: row | {"seconds": 0} for run, row in results.rows.items()})
    assert rows[0] == rows[1]
    assert len(rows[0]) == 4


def test_rows_of_other_settings_are_refused(tmp_path):
    path = tmp_path / "rows.csv"
    complete(Results(path, {"steps": 1, "a": 2}), [CELL], ["macros"], (1, 1), made_up, 1)
    with pytest.raises(ExperimentError, match="steps was 1 and is 3"):
        Results(path, {"steps": 3, "a": 2})
    assert len(Results(path, {"steps": 1, "a": 2}).rows) == 1


def test_strengths_are_chosen_on_seeds_that_are_not_reported():
    best = {"0.1": 0.2, "0.3": 0.5, "1": 0.4, "3": 0.1, "annealed": 0.3}
    rows = {
        Run(CELL, "uniform", strength, seed): {"area": score + spread}
        for strength, score in best.items()
        for seed, spread in ((100, 0.05), (101, -0.05))
    }
    assert chosen_strength(rows, CELL, "uniform") == "0.3"
    lures = {Run(CELL, "uniform", "1", seed): {"area": 9.0} for seed in range(10)}
    elsewhere = {Run(Cell("chain", 7, 0.5, "decision"), "uniform", "1", 100): {"area": 9.0}}
    other_arm = {Run(CELL, "overlap", "1", 100): {"area": 9.0}}
    assert chosen_strength(rows | lures | elsewhere | other_arm, CELL, "uniform") == "0.3"
    runs = reported_runs(CELL, ["uniform"], 3, rows | lures)
    assert [(run.strength, run.seed) for run in runs] == [("0.3", 0), ("0.3", 1), ("0.3", 2)]
    incomplete = {run: row for run, row in rows.items() if run.strength != "annealed"}
    assert chosen_strength(incomplete, CELL, "uniform") is None
    assert reported_runs(CELL, ["uniform"], 3, incomplete) == []
    assert chosen_strength({}, CELL, "macros") == ""


def test_strengths_are_chosen_on_the_seeds_that_all_of_them_have():
    rows = {
        Run(CELL, "uniform", strength, seed): {"area": 0.5 + 0.1 * (strength == "1")}
        for strength in ("0.1", "0.3", "1", "3", "annealed")
        for seed in (100, 101, 102)
    }
    further = {Run(CELL, "uniform", "3", seed): {"area": 9.0} for seed in (103, 104)}
    assert chosen_strength(rows | further, CELL, "uniform") == "1"
    assert chosen_strength(further, CELL, "uniform") is None


def test_the_time_is_told_from_runs_of_the_same_kind():
    def run(arm, k, seed):
        return Run(Cell("chain", k, 0.5, "decision"), arm, "", seed)

    rows = {
        run("macros", 5, 0): {"seconds": 2.0},
        run("macros", 5, 1): {"seconds": 4.0},
        run("macros", 9, 0): {"seconds": 9.0},
        run("primitives", 0, 0): {"seconds": 13.0},
    }
    todo = [run("macros", 5, 2), run("macros", 64, 2), run("oracle", 5, 2)]
    assert estimate(todo[:1], rows) == 3.0
    assert estimate(todo[1:2], rows) == 4.0
    assert estimate(todo[2:], rows) == 6.5
    assert estimate(todo, rows) == 13.5
    assert estimate(todo, {}) is None


def test_the_core_grid_counts_what_its_runs_come_to():
    grid = cells(Settings(problems=("chain", "key and door"), k=(5,)))
    todo = missing({}, grid, ARMS_OF_TEST, (2, 3))
    assert len(todo) == 2 * (2 * 5 * 2 + 3 * 3)
    assert {run.strength for run in todo if run.seed < 100} == {"", "?"}


def test_the_policy_is_scored_at_evenly_spread_steps():
    table = PROBLEMS["chain"]().table

    class Budgeted:
        budget, frames = 100, 0

    looks = Looks(Budgeted, 5, table, 0)
    looks.q_values = lambda: np.tile(float(Budgeted.frames), table.rewards.shape)
    counts = []
    for Budgeted.frames in (7, 19, 20, 39, 65, 99, 104, 130):
        looks._on_step()
        counts.append(len(looks.scores))
    assert counts == [0, 0, 1, 1, 3, 4, 5, 5]
