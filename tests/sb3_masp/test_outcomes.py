"""Σ from where actions lead, on real games."""

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces

from macro_gym import MacroAction, MacroSet
from sb3_masp import load_similarity, run_results
from sb3_masp.cli import main
from sb3_masp.similarity import SimilarityError
from sb3_masp.similarity.forms import make_similarity
from sb3_masp.similarity.outcomes import (
    Outcomes,
    _is_its_emulator_alone,
    collect_outcomes,
    outcome_distances,
    outcome_similarity,
    similarity_of_distances,
)

POLE = MacroSet(("LEFT", "RIGHT"), ((0, 0, 0), (1, 0), (0, 1, 1)))


def game(name, macros=None, **kwargs):
    kwargs = {"obs_type": "ram", "repeat_action_probability": 0.0, "k": 3} | kwargs
    return gym.make(f"MacroALE/{name}-v5", macros=macros, **kwargs)


def pole():
    return MacroAction(gym.make("CartPole-v1"), POLE)


def random_outcomes():
    generator = th.Generator().manual_seed(3)
    states = th.randint(256, (5, 3, 7), generator=generator, dtype=th.uint8)
    states[:, :, 4] = 9  # says nothing
    durations = th.tensor([[1.0, 2, 4]]).repeat(5, 1)
    return Outcomes(states, th.rand(5, 3, generator=generator).double(), durations.double())


def test_distances_are_those_of_naive_loops():
    outcomes = random_outcomes()
    states, rewards, durations = (each.numpy().astype(float) for each in outcomes)
    found = outcome_distances(outcomes, reward_weight=0.7, duration_weight=0.3)
    for i in range(3):
        for j in range(3):
            total = 0.0
            for s in range(5):
                numbers = [0, 1, 2, 3, 5, 6]
                gaps = [
                    abs(states[s, i, b] - states[s, j, b]) / np.std(states[:, :, b])
                    for b in numbers
                ]
                total += sum(gaps) / 6
                total += 0.7 * abs(rewards[s, i] - rewards[s, j]) / np.std(rewards)
                total += 0.3 * abs(durations[s, i] - durations[s, j]) / np.std(durations)
            assert float(found[i, j]) == pytest.approx(total / 5)
    without = outcome_distances(outcomes._replace(rewards=th.zeros(5, 3).double()), 1.0)
    th.testing.assert_close(without, outcome_distances(outcomes))


def test_the_similarity_is_the_softmax_of_distances_in_their_mean():
    distances = th.tensor([[0, 1, 2], [1, 0, 3], [2, 3, 0]]).double()
    found = similarity_of_distances(distances, temperature=0.5)
    for i in range(3):
        weights = [0.0 if j == i else np.exp(-distances[i, j].item() / 2 / 0.5) for j in range(3)]
        assert found[i].tolist() == pytest.approx([w / sum(weights) for w in weights])
    alike = similarity_of_distances(th.zeros(3, 3).double())
    th.testing.assert_close(alike, (1 - th.eye(3).double()) / 2)


@pytest.mark.parametrize("name", ["Breakout", "Qbert"])  # a frame of Q*bert may be half done
def test_trying_from_saved_states_is_trying_in_copies_of_the_environment(name):
    env = game(name, k=1)
    states = iter(collect_outcomes(env, 2, seed=7, spacing=3).states)
    env.reset(seed=7)
    rng = np.random.default_rng(7)
    for _ in range(2):
        for _ in range(rng.integers(1, 6)):
            env.step(rng.integers(env.action_space.n))
        found = next(states)
        for action in (0, int(env.action_space.n) - 1):
            copied = copy.deepcopy(env)
            observation, *_ = copied.step(np.int64(action))
            assert found[action].tolist() == observation.tolist()


def test_what_the_emulators_saved_states_do_not_hold_is_copied():
    env = game("Breakout", k=0, repeat_action_probability=0.5)
    found = collect_outcomes(env, 1, seed=5, spacing=1).states[0]
    env.reset(seed=5)
    rng = np.random.default_rng(5)
    for _ in range(rng.integers(1, 2)):
        env.step(rng.integers(4))
    for action in (1, 3):
        copied = copy.deepcopy(env)
        copied.step(np.int64(action))
        assert found[action].tolist() == copied.unwrapped.ale.getRAM().tolist()
    # Which action came before, which pictures, how many lives: a copy has them, a saved state not.
    assert _is_its_emulator_alone(game("Breakout"))
    for more in (
        {"repeat_action_probability": 0.5},
        {"obs_type": "grayscale"},
        {"terminal_on_life_loss": True},
    ):
        assert not _is_its_emulator_alone(game("Breakout", **more))


def test_actions_that_do_the_same_in_every_state_are_each_others_nearest():
    # Freeway ignores the button: each of the 18 actions does what it does without or with FIRE.
    env = game(
        "Freeway", macros=MacroSet(("NOOP", "FIRE"), ((0, 0), (1, 0))), k=2, full_action_space=True
    )
    names = env.get_wrapper_attr("macro_set").names
    twins = {"NOOP": "FIRE", "NOOP×2": "FIRE,NOOP"}
    twins |= {name: f"{name}FIRE" for name in names if f"{name}FIRE" in names}
    twins |= {second: first for first, second in twins.items()}
    assert set(twins) == set(names)
    similarity = outcome_similarity(env, 3, seed=3)()
    th.testing.assert_close(similarity.sum(dim=1), th.ones(20))
    assert bool((similarity.diagonal() == 0).all())
    assert [names[nearest] for nearest in similarity.argmax(dim=1)] == [twins[n] for n in names]
    nearest, next_one = similarity.topk(2).values.T
    assert bool((nearest > 1.5 * next_one).all())


def test_the_same_seed_gives_the_same_similarity_and_another_one_another():
    env = game("Breakout")
    first, again, other = (outcome_similarity(env, 5, seed=seed)() for seed in (1, 1, 2))
    assert th.equal(first, again)
    assert not th.equal(first, other)
    assert th.equal(first, outcome_similarity(game("Breakout"), 5, seed=1)())


def test_any_environment_that_can_be_copied_will_do_and_trying_leaves_its_play_as_it_is():
    env, alone = pole(), pole()
    outcomes = collect_outcomes(env, 11, seed=5, gamma=0.25, spacing=4)
    alone.reset(seed=5)
    rng = np.random.default_rng(5)
    for state in range(11):
        for _ in range(rng.integers(1, 8)):
            *_, terminated, truncated, _ = alone.step(rng.integers(5))
            if terminated or truncated:
                alone.reset()
        for action in range(5):
            observation, _, _, _, info = copy.deepcopy(alone).step(np.int64(action))
            assert outcomes.states[state, action].tolist() == observation.tolist()
            assert outcomes.durations[state, action] == info["duration"]
            expected = sum(0.25**i for i in range(info["duration"]))
            assert float(outcomes.rewards[state, action]) == pytest.approx(expected)
    assert outcomes.durations.min() < outcomes.durations[0].max() == 3
    np.testing.assert_array_equal(env.unwrapped.state, alone.unwrapped.state)


def test_the_command_writes_a_file_that_trains(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run_results, "_draw", lambda *_: None)  # takes longer than the run
    file = tmp_path / "outcomes.safetensors"
    words = ["similarity", "outcomes", "MacroALE/Breakout-v5", "--k", "3", "--states", "3"]
    assert main([*words, "--seed", "2", "--output", str(file)]) == 0
    assert "7 actions of MacroALE/Breakout-v5, outcomes of each" in capsys.readouterr().out
    similarity, about = load_similarity(file)
    env = game("Breakout")
    assert th.equal(similarity(), outcome_similarity(env, 3, seed=2)())
    assert (about.game, about.learner, about.frames) == ("Breakout", "", 0)
    assert "from 3 states of random play, seed 2; temperature 0.1" in about.origin
    macros = env.get_wrapper_attr("macro_set")
    assert not make_similarity(str(file), "uniform", 7, macros).is_learned
    learned = make_similarity("softmax", str(file), 7, macros)
    th.testing.assert_close(learned(), similarity(), rtol=1e-3, atol=1e-5)
    words = ["train", "MacroALE/Breakout-v5", "--k", "3", "--obs-type", "ram", "--net-arch", "7"]
    words += ["--frames", "60", "--similarity", str(file), "--run", str(tmp_path / "run")]
    assert main([*words, "--buffer-size", "99"]) == 0
    kept, _ = load_similarity(tmp_path / "run" / "similarity.safetensors")
    assert th.equal(kept(), similarity())


class Uncopyable(gym.Env):
    action_space = spaces.Discrete(3)
    observation_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        return 0, {}

    def step(self, action):
        return 0, 0.0, False, False, {}

    def __deepcopy__(self, memo):
        raise TypeError("a window is open")


def test_an_output_in_a_files_place_is_refused_before_anything_is_played(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    output = str(tmp_path / "file" / "outcomes.safetensors")
    assert main(["similarity", "outcomes", "None-v0", "--output", output]) == 2
    assert f"{tmp_path / 'file'} cannot be a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("temperature", 0, "temperature is 0; it must be above 0, and finite"),
        ("temperature", np.inf, "temperature is inf; it must be above 0, and finite"),
        ("reward_weight", -50, "reward_weight is -50; it must be at least 0, and finite"),
        ("duration_weight", np.nan, "duration_weight is nan; it must be at least 0, and finite"),
    ],
)
def test_settings_of_distances_are_refused_before_anything_is_played(setting, value, message):
    with pytest.raises(SimilarityError, match=message):
        outcome_similarity(Uncopyable(), 3, **{setting: value})


def test_what_is_out_of_range_or_cannot_be_tried_is_refused():
    with pytest.raises(SimilarityError, match="actions are Box"):
        collect_outcomes(gym.make("Pendulum-v1"), 3)
    with pytest.raises(SimilarityError, match="states is 0; it must be at least 1"):
        collect_outcomes(pole(), 0)
    message = "20001 states and 5 actions make 100005 decisions; .* which 20000 states are"
    with pytest.raises(SimilarityError, match=message):
        collect_outcomes(pole(), 20_001)
    with pytest.raises(SimilarityError, match="spacing is 0"):
        collect_outcomes(pole(), 3, spacing=0)
    with pytest.raises(SimilarityError, match=r"cannot be copied \(a window is open\)"):
        collect_outcomes(Uncopyable(), 3)
    with pytest.raises(SimilarityError, match=r"AtariEnv is a new one at its start .* MacroALE's"):
        collect_outcomes(gym.make("ALE/Breakout-v5"), 3)
