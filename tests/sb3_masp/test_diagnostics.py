"""Warnings of trouble with Σ: each is provoked, says its figure, and is given once."""

import itertools
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from torch.nn import functional as F

from macro_gym import MacroAction
from sb3_masp import MASPDQN, AuxiliaryHead, MASPRainbow
from sb3_masp.losses import matrix_mixer, similarity_penalty
from sb3_masp.similarity import make_similarity
from sb3_masp.similarity.diagnostics import GRADIENTS, Agreement, penalty_pull
from tests.sb3_masp.poles import MACROS, SMALL, macro_cartpole

A = MACROS.n_actions


class Noise(gym.Env):
    """Observations and rewards that nothing is to be learned from."""

    observation_space = gym.spaces.Box(-1, 1, (3,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._look(), {}

    def step(self, action):
        return self._look(), self.np_random.normal(), self.np_random.random() < 0.3, False, {}

    def _look(self):
        return self.np_random.uniform(-1, 1, 3).astype(np.float32)


def test_the_agreement_of_gradients_is_the_mean_cosine_of_all_pairs():
    th.manual_seed(0)
    gradients = [th.randn(3, 5, dtype=th.float64) + 0.3 for _ in range(GRADIENTS)]
    agreement = Agreement(17).double()
    for gradient in gradients:
        assert agreement.told() == {}
        agreement.add([gradient, th.zeros(2)])
    agreement.add([th.zeros(17)])  # points nowhere
    pairs = itertools.combinations([gradient.flatten() for gradient in gradients], 2)
    expected = np.mean([float(F.cosine_similarity(*pair, dim=0)) for pair in pairs])
    assert 0.05 < expected < 0.2
    assert agreement.told() == {"meta/cosine": pytest.approx(expected)}
    assert agreement.told() == {}


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_differences_that_the_penalty_pulls_at_end_at_one_over_one_plus_pull(reduction):
    n_actions, eta = 3, 1.7
    targets = th.randn(n_actions, dtype=th.float64, generator=th.Generator().manual_seed(0))
    uniform = make_similarity("uniform", "uniform", n_actions)().double()

    def pulls(q_values):
        """All actions tried alike, so that the TD loss is the mean over them."""
        td = 0.5 * (q_values - targets).square().mean()
        return td + eta * similarity_penalty(q_values[None], matrix_mixer(uniform), reduction)

    # The loss is quadratic, so one step of Newton's is at its minimum.
    zero = th.zeros_like(targets)
    hessian = th.autograd.functional.hessian(pulls, zero)
    ended = -th.linalg.solve(hessian, th.func.grad(pulls)(zero))
    share = ended.std() / targets.std()
    pull = penalty_pull(0.0, eta, n_actions, reduction)
    assert share == pytest.approx(1 / (1 + pull), rel=1e-6)
    if reduction == "mean":  # Values 5 from the mean are 7.5 from the mean of the others.
        assert penalty_pull(7.5**2, eta, n_actions, "mean") == pytest.approx(5 * pull)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"eta": 30.0}, r"similarity/pull is 81.7, above 9: η .* Lower eta to 3.3 or less\."),
        (
            {"eta": 1.0, "penalty_reduction": "sum"},
            r"pull is 19.1, above 9.*eta to 0.47 or less, or let penalty_reduction be 'mean'\.",
        ),
    ],
)
@pytest.mark.parametrize("learner", [MASPDQN, MASPRainbow])
def test_too_strong_a_penalty_is_warned_of_once(learner, settings, text):
    model = learner("MlpPolicy", macro_cartpole(), **SMALL | settings)
    with pytest.warns(UserWarning, match=text) as warned:
        model.learn(97, log_interval=1)
    assert len(warned) == 1


def test_meta_gradients_that_are_noise_are_warned_of():
    env = MacroAction(Noise(), MACROS)
    model = MASPDQN("MlpPolicy", env, meta_interval=1, train_freq=1, gamma=0.0, **SMALL)
    with pytest.warns(
        UserWarning,
        match=r"meta/cosine is .*, below 0.01: .* Decay meta_learning_rate, raise "
        "outer_batch_size or meta_average, or set similarity_frozen",
    ):
        model.learn(601, log_interval=1)


def test_the_agreement_of_gradients_is_logged_and_not_warned_of():
    model = MASPDQN("MlpPolicy", macro_cartpole(), **SMALL)
    model.learn(20)
    for _ in range(GRADIENTS):
        model.similarity_learning.agreement.add([th.ones(A * A)])
    logged = {}
    model.logger.record = lambda name, value, exclude=None: logged.update({name: value})
    model.dump_logs()
    assert logged["meta/cosine"] == pytest.approx(1.0)
    assert "similarity/unevenness" in logged


def test_collapse_to_identity_is_warned_of_once_with_the_figure():
    model = MASPDQN("MlpPolicy", macro_cartpole(), similarity="softmax_diagonal", **SMALL)
    model.learn(29, log_interval=1)
    with th.no_grad():
        model.similarity.logits += 6 * th.eye(A)
    with pytest.warns(
        UserWarning,
        match=r"after \d+ updates, similarity/off_diagonal_mass is 0.01\d+, below 0.02: Σ has "
        "collapsed to identity.* Lower or decay meta_learning_rate, or choose a similarity "
        "without a diagonal",
    ):
        model.dump_logs()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.dump_logs()


def test_coming_back_to_uniform_is_a_collapse_and_starting_there_is_none():
    model = MASPDQN("MlpPolicy", macro_cartpole(), **SMALL)
    model.learn(20, log_interval=1)  # before learning_starts: uniform, as it began
    start = model.similarity.logits.detach().clone()
    model.dump_logs()
    with th.no_grad():
        model.similarity.logits[1, 3] += 2
    model.dump_logs()
    with th.no_grad():
        model.similarity.logits.copy_(start)
    with pytest.warns(
        UserWarning,
        match=r"similarity/unevenness is .*, below 0.02: Σ has collapsed to uniform.* or "
        "begin at another similarity_start",
    ):
        model.dump_logs()


def test_what_is_to_be_changed_is_what_the_way_listens_to():
    start = {"similarity_start": "overlap", "similarity_frozen": True}
    head = AuxiliaryHead(temperature=1e9)
    model = MASPDQN("MlpPolicy", macro_cartpole(), similarity_learning=head, **start, **SMALL)
    model.similarity_frozen = False
    with pytest.warns(UserWarning, match=r"collapsed to uniform.* temperature of AuxiliaryHead"):
        model.learn(211, log_interval=1)
