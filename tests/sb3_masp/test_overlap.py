import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from stable_baselines3.common.vec_env import DummyVecEnv

from sb3_masp import MASPDQN, MASPRainbow
from sb3_masp.vec_env import GymnasiumVecEnv
from tests.sb3_masp.learners import macro_cartpole, small


def overlapping(learner=MASPDQN, n_envs=3, **kwargs):
    env = DummyVecEnv([macro_cartpole] * n_envs)
    constant = {"exploration_initial_eps": 0.3, "exploration_final_eps": 0.3}
    return small(learner, env, train_freq=(2, "decision"), **constant | kwargs)


def naive(model, steps):
    """The loop written out: act, begin to step, take the updates owed, await the step, store."""
    model._setup_learn(3 * steps)
    owed = 0
    for step in range(steps):
        actions, _ = model._sample_action(model.learning_starts, None, 3)
        model.env.step_async(actions)
        model._take_updates(owed, 13)
        observations, rewards, dones, infos = model.env.step_wait()
        model.num_timesteps += 3
        model._store_transition(model.replay_buffer, actions, observations, rewards, dones, infos)
        model._update_current_progress_remaining(model.num_timesteps, 3 * steps)
        model._on_step()
        trained = max(model.num_timesteps, 23) // 2, max(3 * step, 23) // 2
        owed = trained[0] - trained[1]
    return model


def assert_same_weights(ours, theirs):
    th.testing.assert_close(ours.q_net.state_dict(), theirs.q_net.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("learner", [MASPDQN, MASPRainbow])
def test_updates_while_stepping_are_those_of_the_loop_written_out(learner):
    overlapped = overlapping(learner, overlap_updates=True).learn(3 * 29)
    reference = naive(overlapping(learner), 29)
    assert overlapped._n_updates == reference._n_updates > 20
    assert_same_weights(overlapped, reference)


def test_a_run_stopped_and_gone_on_with_takes_the_updates_it_owed(tmp_path):
    whole = overlapping(overlap_updates=True).learn(90)
    first = overlapping(overlap_updates=True).learn(45)
    assert first._owed_updates
    owed = first._owed_updates
    first.save(tmp_path / "model")
    assert_same_weights(first.learn(45, reset_num_timesteps=False), whole)
    assert MASPDQN.load(tmp_path / "model")._owed_updates == owed


def test_a_model_that_came_without_its_replay_owes_nothing(tmp_path):
    model = overlapping(overlap_updates=True).learn(45)
    assert model._owed_updates
    model.save(tmp_path / "model")
    loaded = MASPDQN.load(tmp_path / "model", env=model.get_env())
    assert loaded.learn(3)._n_updates == model._n_updates


def noted(call, name, events):
    def noting(*args):
        events.append(name)
        return call(*args)

    return noting


def test_environments_step_while_the_learner_updates(monkeypatch):
    model = overlapping(overlap_updates=True, n_envs=3)
    events = []
    for owner, name in (
        (model.env, "step_async"),
        (model.env, "step_wait"),
        (model, "_update"),
        (model.replay_buffer, "add"),
    ):
        monkeypatch.setattr(owner, name, noted(getattr(owner, name), name, events))
    model.learn(36)
    # Of 36 decisions the first 23 are not learned from; then one update, or two, for every three.
    steps = " ".join(events).split("step_async ")
    assert steps[-2:] == ["_update _update step_wait add ", "_update step_wait add"]


def test_vector_environments_in_processes_begin_when_they_get_their_actions():
    makers = [lambda: gym.make("CartPole-v1")] * 3
    begun, whole = GymnasiumVecEnv(AsyncVectorEnv(makers)), GymnasiumVecEnv(SyncVectorEnv(makers))
    for env in (begun, whole):
        env.seed(5)
        env.reset()
    for step in range(50):
        actions = np.array([step % 2, 1, step % 3 % 2])
        begun.step_async(actions)
        assert begun.env._state.value == "step"
        for mine, reference in zip(begun.step_wait()[:3], whole.step(actions)[:3], strict=True):
            np.testing.assert_array_equal(mine, reference)
    begun.close()


class Stop(Exception):
    """Stands for Ctrl-C."""


def test_an_interrupted_update_leaves_environments_that_can_step(monkeypatch):
    env = GymnasiumVecEnv(AsyncVectorEnv([macro_cartpole] * 3))
    model = small(MASPDQN, env, train_freq=(2, "decision"), overlap_updates=True)

    def stop(batch_size):
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(model, "_update", stop)
        with pytest.raises(Stop):
            model.learn(60)
    env.reset()
    model.learn(60)
    env.close()


def test_updates_asked_for_by_hand_are_taken_at_once():
    model = overlapping(overlap_updates=True).learn(45)
    taken, owed = model._n_updates, model._owed_updates
    model.train(5, 13)
    assert (model._n_updates, model._owed_updates) == (taken + 5, owed)
