"""The experiments on credit: what a run is of, and what it says of itself."""

import json
import math

import numpy as np
import pytest
import torch as th
from bsuite.sweep import SETTINGS as BSUITE_SETTINGS
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor

from examples.credit import bsuite_regret, key_to_door, minatar_games
from examples.credit.arms import ARMS
from examples.credit.key_to_door import Doors, Ended, Rooms, curve, make
from examples.credit.runs import Run
from examples.experiments.minatar_games import GAMES
from sb3_masp.pairwise.problems import BsuiteEnv
from sb3_masp.pairwise.problems.key_to_door import CENTRE, DOOR_PLACE, MOVES

EPISODES = bsuite_regret.Budget(episodes=6)
ROOMS = key_to_door.Budget(steps=480, looks=2, envs=2)
FRAMES = minatar_games.Budget(frames=330)


def run(experiment, problem, arm, seed=3):
    return Run(problem, arm, list(experiment.ARMS[arm].choices)[-1], seed)


def timeless(rows):
    return [row | {"seconds": 0} for row in rows]


@pytest.mark.parametrize(
    ("experiment", "budget", "problem"),
    [
        (bsuite_regret, EPISODES, "cartpole/0"),
        (key_to_door, ROOMS, "μ=5 σ=5"),
        (minatar_games, FRAMES, "Breakout"),
    ],
)
def test_every_arm_learns_and_a_run_is_what_its_settings_say(experiment, budget, problem):
    found = {}
    for arm in experiment.ARMS:
        found[arm] = experiment.learn(budget, run(experiment, problem, arm))
        values = [value for row in found[arm] for value in row.values()]
        assert all(map(math.isfinite, values))
    again = experiment.learn(budget, run(experiment, problem, "Meta-PWTD"))
    assert timeless(again) == timeless(found["Meta-PWTD"])
    other = experiment.learn(budget, run(experiment, problem, "Meta-PWTD", seed=4))
    assert timeless(other) != timeless(again)
    json.dumps(found)


class Ends(BaseCallback):
    """Keeps the last reward and the return of every episode, in the order of their ends."""

    def _on_step(self):
        for reward, info in zip(self.locals["rewards"], self.locals["infos"], strict=True):
            if "episode" in info:
                self.found.append((float(reward), info["episode"]["r"]))
        return True


@pytest.mark.parametrize(
    ("problem", "of_episode"),
    [
        ("catch/0", lambda last, total: 1 - last),
        ("catch_scale/12", lambda last, total: 1 - last / 30),
        ("umbrella_length/16", lambda last, total: 1 - last),
        ("umbrella_distract/17", lambda last, total: 1 - last),
        ("cartpole/0", lambda last, total: 1_000 - total),
        ("discounting_chain/4", lambda last, total: 1.1 - total),
    ],
)
def test_regret_is_what_the_episodes_asked_for_lack_of_the_best(problem, of_episode):
    model = bsuite_regret.learner(EPISODES, run(bsuite_regret, problem, "Meta-PWR"))
    regrets, ends = bsuite_regret.Regrets(5), Ends()
    ends.found = []
    model.learn(10_000, callback=[ends, regrets])
    assert regrets.episodes == 5
    assert len(ends.found) in (5, 6)
    expected = sum(of_episode(*ended) for ended in ends.found[:5])
    assert regrets.total == pytest.approx(expected, abs=1e-4)
    assert expected > 0


def test_settings_of_bsuite_are_those_that_are_said():
    said = {name: BSUITE_SETTINGS[name] for name in bsuite_regret.PROBLEMS}
    assert said["catch_noise/8"]["noise_scale"] == 1.0
    assert said["catch_scale/12"]["reward_scale"] == 30.0
    assert said["umbrella_length/16"] == {"chain_length": 40, "n_distractor": 20}
    assert said["umbrella_distract/17"] == {"n_distractor": 50}
    # Chains pay after 1, 3, 10, 30 and 100 steps.
    assert said["discounting_chain/4"]["mapping_seed"] % 5 == 4
    assert not {*bsuite_regret.TUNED_ON} & {*said}
    assert {name.split("/")[0] for name in said} == {*bsuite_regret.ROLLOUT_STEPS}


@pytest.mark.parametrize("problem", [p for p in bsuite_regret.PROBLEMS if "cartpole" not in p])
def test_rollouts_are_whole_episodes(problem):
    env, steps, over = BsuiteEnv(problem), 0, False
    env.reset(seed=1)
    while not over:
        over = env.step(0)[2]
        steps += 1
    assert bsuite_regret.ROLLOUT_STEPS[problem.split("/")[0]] == steps


def test_the_cart_pole_has_half_of_the_episodes():
    assert bsuite_regret.Budget(episodes=10).of("cartpole/0") == 5
    assert bsuite_regret.Budget(episodes=10).of("catch/0") == 10


def test_the_papers_regrets_are_those_of_its_table():
    # A2C / PWTD / PWR, domain by domain.
    by_domain = {
        "catch": (5975, 6096, 5967),
        "catch_noise": (42221, 41106, 43076),
        "catch_scale": (56800, 48199, 49361),
        "umbrella_length": (38050, 37973, 38168),
        "umbrella_distract": (37524, 37226, 36554),
        "cartpole": (76874, 65945, 61752),
        "discounting_chain": (3554, 1040, 161),
    }
    paper = bsuite_regret.PAPER
    for place, problem in enumerate(bsuite_regret.PROBLEMS):
        theirs = tuple(paper[arm][place] for arm in ("A2C", "Meta-PWTD", "Meta-PWR"))
        assert theirs == by_domain[problem.split("/")[0]]
    # In bold and, of what is not, by far the most.
    assert min(paper, key=lambda arm: paper[arm][0]) == "A2C-RR"
    for place in (0, 1, 3, 4, 5):
        assert max(paper, key=lambda arm: paper[arm][place]) == "RGM"
    assert {*paper} == {*bsuite_regret.ARMS}


def moves_to(place, target):
    """Actions that lead from a place to another, up and down first."""
    down, right = target[0] - place[0], target[1] - place[1]
    vertical = [MOVES.index((1 if down > 0 else -1, 0))] * abs(down)
    return vertical + [MOVES.index((0, 1 if right > 0 else -1))] * abs(right)


@pytest.mark.parametrize("takes_key", [True, False])
def test_what_the_door_pays_is_counted_for_those_who_took_the_key(takes_key):
    env, doors = Monitor(make("μ=5 σ=25")), Doors()
    env.reset(seed=5)
    inner = env.unwrapped
    start = moves_to(inner._agent, inner._key) if takes_key else []
    # Against the upper wall of the key's room and the apples', and at the end to the door.
    plan = start + [0] * (105 - len(start)) if takes_key else [1] * 105
    plan += moves_to(CENTRE, DOOR_PLACE) + [0] * 13
    total = 0.0
    for step, action in enumerate(plan, 1):
        doors.num_timesteps = step
        _, reward, *_, info = env.step(action)
        total += reward
        doors.locals = {"infos": [info]}
        doors._on_step()
    (episode,) = doors.episodes
    assert episode.steps == 120
    assert episode.score == pytest.approx(total, abs=1e-5)
    assert episode.door == (10 if takes_key else 0)


def test_curves_are_means_of_equal_parts():
    ended = [Ended(10 * n, n / 8, float(n * n), float(n % 2)) for n in range(1, 8)]
    assert curve(ended, 3) == [
        {"steps": 20, "return": (1 + 4) / 2, "door_return": 0.5, "seconds": 0.25},
        {"steps": 50, "return": (9 + 16 + 25) / 3, "door_return": 2 / 3, "seconds": 0.625},
        {"steps": 70, "return": (36 + 49) / 2, "door_return": 0.5, "seconds": 0.875},
    ]


def test_rooms_are_seen_with_the_key_and_by_actor_and_critic_apart():
    model = key_to_door.learner(ROOMS, run(key_to_door, "μ=5 σ=25", "Meta-PWR"))
    policy = model.policy
    observation = model.get_env().reset()
    assert isinstance(policy.pi_features_extractor, Rooms)
    assert policy.pi_features_extractor is not policy.vf_features_extractor
    features = policy.extract_features(policy.obs_to_tensor(observation)[0])[0]
    with_key = observation | {"has_key": np.ones_like(observation["has_key"])}
    others = policy.extract_features(policy.obs_to_tensor(with_key)[0])[0]
    assert features.shape == (2, 66)
    th.testing.assert_close(features[:, :-2], others[:, :-2])
    assert features[:, -2:].tolist() == [[1, 0]] * 2
    assert others[:, -2:].tolist() == [[0, 1]] * 2
    brighter = observation | {"view": 255 - observation["view"]}
    assert not th.equal(
        policy.extract_features(policy.obs_to_tensor(brighter)[0])[0][:, :-2], features[:, :-2]
    )


def test_settings_of_key_to_door_are_those_of_their_names():
    env = make("μ=10 σ=50")
    assert (env.apple_mean, env.apple_std, env.cell_size) == (10, 50, 1)
    assert len(key_to_door.PROBLEMS) == 9
    assert {*key_to_door.TUNED_ON, *key_to_door.Settings().problems} <= {*key_to_door.PROBLEMS}


def test_arms_differ_in_how_they_weight_alone():
    forms = {
        (arm.arguments["advantage"], arm.arguments["weights"]): name for name, arm in ARMS.items()
    }
    assert forms == {
        ("pwtd", "geometric"): "A2C",
        ("pwr", "geometric"): "A2C-RR",
        ("pwtd", "state_lambda"): "Meta-λ(s)",
        ("pwr", "sequence"): "RGM",
        ("pwtd", "embedding"): "Meta-PWTD",
        ("pwr", "embedding"): "Meta-PWR",
    }
    model = key_to_door.learner(ROOMS, run(key_to_door, "μ=5 σ=25", "H-PWR"))
    assert (model.advantage, model.learns_weights) == ("pwr", False)
    assert model.weights.values[3, 110] == 1
    assert model.weights.values[3, 50] == 0


def test_games_are_minatars_and_a2c_has_the_papers_lambda():
    for choice in minatar_games.ARMS["A2C"].choices.values():
        assert choice["gae_lambda"] == 0.95
    assert {*minatar_games.TUNED_ON} < {*GAMES}
    rows = [
        minatar_games.learn(FRAMES, run(minatar_games, "Asterix", arm))
        for arm in ("A2C", "Meta-PWTD")
    ]
    for (row,) in rows:
        assert (row["frames"], row["decisions"], row["updates_taken"]) == (336, 336, 2)


def test_arms_in_the_rooms_have_as_many_choices_each():
    assert {len(arm.choices) for arm in key_to_door.ARMS.values()} == {4}
