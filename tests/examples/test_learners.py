"""What updates are counted in: decisions, as MASPDQN has it, or steps, then for all settings."""

import pytest
import stable_baselines3.dqn.dqn as sb3_dqn
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.monitor import Monitor

from examples.experiments.learners import let_learn, make_learner
from examples.experiments.problems import PROBLEMS, macro_env, macros
from sb3_masp import MASPDQN
from sb3_masp.callbacks import FrameBudget

SHARED = {
    "learning_starts": 53,
    "train_freq": 3,
    "target_update_interval": 17,
    "buffer_size": 500,
    "embedding_dim": 0,
}
STEPS = 701


def env_of(k):
    return macro_env(PROBLEMS["chain"](), macros("chain", k, 0.5, 1))


def learner(k, updates):
    return make_learner(env_of(k), 5, SHARED, {"eta": 1.0}, {"net_arch": [7]}, updates)


def weights(model):
    networks = (model.q_net, model.q_net_target)
    return th.cat([p.detach().flatten() for network in networks for p in network.parameters()])


@pytest.mark.parametrize(("k", "updates"), [(0, "decision"), (11, "decision"), (0, "step")])
def test_by_decisions_it_is_maspdqn_weight_for_weight_and_by_steps_where_none_is_longer(k, updates):
    settings = SHARED | {"train_freq": (3, "decision"), "policy_kwargs": {"net_arch": [7]}}
    after = []
    for made in (
        lambda: MASPDQN("MlpPolicy", Monitor(env_of(k)), seed=5, device="cpu", eta=1.0, **settings),
        lambda: learner(k, updates),
    ):
        model = made()  # which seeds everything, so the other one has to be over
        let_learn(model, FrameBudget(STEPS))
        assert model._n_updates > 20
        after.append(weights(model))
    th.testing.assert_close(*after, rtol=0, atol=0)


class Seen(BaseCallback):
    """Notes after how many steps there were so many updates, and after how many it decided."""

    def __init__(self, budget):
        super().__init__()
        self.budget, self.updates, self.first_own = budget, [], None

    def _on_step(self):
        self.updates.append((self.budget.frames, self.model._n_updates))
        return True


def seen(updates, monkeypatch):
    """What a run comes to: its updates at each decision, and after which steps what happened."""
    model, budget = learner(11, updates), FrameBudget(STEPS)
    watch, targets, own = Seen(budget), [], []
    polyak, predict = sb3_dqn.polyak_update, model.predict

    def noted(params, target_params, tau):
        targets.append(budget.frames)
        polyak(params, target_params, tau)

    def decided(*args, **kwargs):
        own.append(budget.frames)
        return predict(*args, **kwargs)

    monkeypatch.setattr(sb3_dqn, "polyak_update", noted)
    monkeypatch.setattr(model, "predict", decided)
    let_learn(model, budget, [watch])
    assert model.num_timesteps < 0.6 * STEPS
    return watch.updates, targets[::2], own[0]  # each update copies statistics in a second call


def test_by_steps_all_settings_are_of_steps_with_macros_too(monkeypatch):
    longest = max(map(len, macros("chain", 11, 0.5, 1).macros))
    updates, targets, first_own = seen("step", monkeypatch)
    for steps, taken in updates:
        # Up to three decisions later than asked for, for that is when SB3 trains.
        assert (steps - 53) / 3 - longest - 2 <= taken <= max((steps - 53) / 3 + 1, 0)
    assert updates[-1][1] > 180
    # Each multiple of 17 is followed by one, at the decision that comes to it.
    due = [range(n * 17, n * 17 + longest) for n in range(1, STEPS // 17 + 1)]
    assert len(targets) == len(due)
    assert all(steps in at for steps, at in zip(targets, due, strict=True))
    assert 53 <= first_own < 53 + longest


def test_by_decisions_the_same_settings_are_of_decisions(monkeypatch):
    updates, targets, first_own = seen("decision", monkeypatch)
    decisions = len(updates)
    assert updates[-1][1] == pytest.approx((decisions - 53) / 3, abs=1)
    assert len(targets) == (decisions - 1) // 17
    assert first_own == updates[52][0]
