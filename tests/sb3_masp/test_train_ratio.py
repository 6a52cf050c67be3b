"""Updates for decisions: the same ratio for one environment and for many."""

import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.type_aliases import TrainFreq

from macro_gym.errors import LearnerSettingError
from sb3_masp import MASPDQN, Rainbow, run
from tests.sb3_masp.learners import LEARNERS, macro_cartpole, small
from tests.sb3_masp.poles import same_weights

every_learner = pytest.mark.parametrize("learner", LEARNERS, ids=lambda learner: learner.__name__)


def poles(n_envs):
    return make_vec_env(macro_cartpole, n_envs)


def updates_after(decisions, every, learning_starts):
    """One for each ``every``-th decision beyond the start, counted one by one."""
    return sum(n % every == 0 for n in range(learning_starts + 1, decisions + 1))


@every_learner
@pytest.mark.parametrize("n_envs", [1, 3, 16])
def test_the_number_of_updates_goes_by_decisions_however_many_environments_take_them(
    learner, n_envs
):
    model = small(learner, poles(n_envs), train_freq=(4, "decision")).learn(144)
    assert model.num_timesteps == 144
    assert model._n_updates == updates_after(144, 4, 23) == 31


@pytest.mark.parametrize(
    ("n_envs", "every", "learning_starts", "gradient_steps"),
    [(3, 7, 50, 1), (5, 7, 0, 2), (7, 5, 11, 1), (7, 3, 0, 1), (2, 10, 21, 3)],
)
def test_environments_and_decisions_need_not_divide_each_other(
    n_envs, every, learning_starts, gradient_steps
):
    model = small(
        MASPDQN,
        poles(n_envs),
        train_freq=(every, "decision"),
        learning_starts=learning_starts,
        gradient_steps=gradient_steps,
    ).learn(210)
    due = updates_after(model.num_timesteps, every, learning_starts)
    assert model._n_updates == gradient_steps * due > 0


@every_learner
@pytest.mark.parametrize("learning_starts", [0, 23, 24])
def test_for_one_environment_decisions_are_sb3s_steps_weight_for_weight(learner, learning_starts):
    def learned(train_freq):
        model = small(learner, train_freq=train_freq, learning_starts=learning_starts).learn(50)
        return model.learn(51, reset_num_timesteps=False)

    ours, theirs = learned((4, "decision")), learned(4)
    assert ours._n_updates == theirs._n_updates > 10
    assert same_weights(ours, theirs)


@pytest.mark.parametrize("train_freq", [3, (3, "step")])
def test_steps_are_vectorised_steps_as_in_sb3(train_freq):
    model = small(MASPDQN, poles(5), train_freq=train_freq, learning_starts=0).learn(150)
    assert model._n_updates == 150 // (5 * 3)


def test_minus_one_gradient_steps_are_as_many_as_decisions_for_any_environments():
    for n_envs in (1, 3):
        freq = {"train_freq": (6, "decision"), "gradient_steps": -1, "learning_starts": 0}
        assert small(MASPDQN, poles(n_envs), **freq).learn(66)._n_updates == 66


def test_updates_asked_for_by_hand_are_those_taken():
    model = small(MASPDQN, poles(3), train_freq=(4, "decision")).learn(30)
    for decisions in (0, 39):  # after no rollout, and after one that makes none due
        model.learn(decisions, reset_num_timesteps=True)
        before = model._n_updates
        model.train(5, batch_size=13)
        assert model._n_updates == before + 5


def test_the_ratio_is_kept_when_a_model_goes_on_with_other_environments(tmp_path):
    model = small(MASPDQN, poles(3), train_freq=(4, "decision")).learn(51)
    model.save(tmp_path / "model")
    loaded = MASPDQN.load(tmp_path / "model", env=poles(16))
    assert loaded.train_freq == TrainFreq(4, "decision")
    assert loaded._n_updates == updates_after(51, 4, 23)
    loaded.learn(109, reset_num_timesteps=False)
    assert loaded._n_updates == updates_after(51 + 112, 4, 23)
    other = MASPDQN.load(tmp_path / "model", env=poles(3), train_freq=(2, "decision"))
    assert other.learn(60)._n_updates - model._n_updates == updates_after(60, 2, 23)


def test_decisions_are_the_default_and_what_the_command_line_means():
    for learner in LEARNERS:
        model = learner("MlpPolicy", poles(2), buffer_size=50)
        assert model.train_freq == TrainFreq(4, "decision")
    config = run.TrainConfig("CartPole-v1", learner=run.LearnerConfig(train_freq=7), n_envs=3)
    assert config.learner_kwargs["train_freq"] == (7, "decision")


@pytest.mark.parametrize("decisions", [0, -4, 2.5, "4", True])
def test_decisions_must_be_a_positive_integer(decisions):
    with pytest.raises(LearnerSettingError, match="number of decisions must be an integer, at"):
        small(MASPDQN, train_freq=(decisions, "decision"))


@pytest.mark.parametrize("learner", [MASPDQN, Rainbow], ids=["epsilon", "noise"])
def test_actions_of_all_environments_are_one_forward_pass(learner):
    quiet = {"exploration_final_eps": 0.0} if learner is MASPDQN else {}
    model = small(learner, poles(5), learning_starts=0, exploration_fraction=1e-9, **quiet)
    forward, batches, steps = model.policy._predict, [], []

    def counted(observations, **kwargs):
        batches.append(len(observations))
        return forward(observations, **kwargs)

    model.policy._predict = counted
    model.learn(75, callback=lambda here, _: not steps.append(np.shape(here["actions"])))
    assert steps == [(5,)] * 15
    assert batches == [5] * 15


def test_an_unknown_unit_is_refused_with_those_that_there_are():
    with pytest.raises(LearnerSettingError, match=r"\(4, 'decisions'\).*'decision', 'step' or"):
        small(MASPDQN, train_freq=(4, "decisions"))
