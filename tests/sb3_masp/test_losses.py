import pytest
import torch as th

from sb3_masp.losses import (
    matrix_mixer,
    similarity_penalty,
    similarity_penalty_tangent,
    td_loss,
    td_target,
)

GENERATOR = th.Generator().manual_seed(11)


def draw(*shape):
    return th.randn(*shape, dtype=th.float64, generator=GENERATOR, requires_grad=True)


@pytest.mark.parametrize(("reduction", "divisor"), [("mean", 3 * 5), ("sum", 3)])
def test_penalty_matches_naive_loops_and_finite_differences(reduction, divisor):
    q, sigma = draw(3, 5), draw(5, 5)  # 3 ≠ 5: swapped axes must fail
    naive = sum(
        (b[i] - sum(sigma[i, j] * b[j] for j in range(5))) ** 2 for b in q for i in range(5)
    )
    th.testing.assert_close(similarity_penalty(q, matrix_mixer(sigma), reduction), naive / divisor)

    def penalty(q_values, matrix):
        return similarity_penalty(q_values, matrix_mixer(matrix), reduction)

    assert th.autograd.gradcheck(penalty, (q, sigma))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_penalty_tangent_is_the_penaltys_directional_derivative(reduction):
    q, direction, mix = draw(3, 5), draw(3, 5), matrix_mixer(draw(5, 5))
    (slope,) = th.autograd.grad(similarity_penalty(q, mix, reduction), q)
    expected = (slope * direction).sum()
    th.testing.assert_close(similarity_penalty_tangent(q, direction, mix, reduction), expected)


def test_penalty_ignores_the_level_of_q_where_rows_sum_to_one():
    q, mix = draw(7, 5), matrix_mixer(draw(5, 5).softmax(dim=1))
    th.testing.assert_close(similarity_penalty(q + 3.7, mix), similarity_penalty(q, mix))


def test_penalty_of_a_uniform_similarity_is_shrinkage_of_advantages():
    q = draw(7, 5)
    uniform = (1 - th.eye(5, dtype=th.float64)) / 4
    advantages = q - q.mean(dim=1, keepdim=True)
    expected = (5 / 4 * advantages).square().mean()
    th.testing.assert_close(similarity_penalty(q, matrix_mixer(uniform)), expected)


def test_mean_penalty_means_the_same_for_any_number_of_actions():
    q = draw(3, 5)
    twice = q.repeat(1, 2)
    of_5, of_10 = (matrix_mixer(th.full((n, n), 1 / n, dtype=th.float64)) for n in (5, 10))
    th.testing.assert_close(similarity_penalty(twice, of_10), similarity_penalty(q, of_5))


def naive_targets(rewards, dones, discounts, next_values, choosers):
    targets = []
    for b in range(len(rewards)):
        choice = max(range(len(choosers[b])), key=lambda a: float(choosers[b][a]))
        bootstrap = 0 if dones[b] else float(next_values[b][choice])
        targets.append([float(rewards[b]) + float(discounts[b]) * bootstrap])
    return th.tensor(targets, dtype=th.float64)


def test_td_target_matches_a_naive_loop_with_and_without_double_q():
    rewards, next_values, choosers = draw(7, 1).detach(), draw(7, 3).detach(), draw(7, 3).detach()
    dones = th.tensor([[0.0], [1], [0], [0], [1], [0], [0]], dtype=th.float64)
    discounts = 0.9 ** th.arange(7, dtype=th.float64)[:, None]
    naive = naive_targets(rewards, dones, discounts, next_values, next_values)
    th.testing.assert_close(td_target(rewards, dones, discounts, next_values), naive)
    double = naive_targets(rewards, dones, discounts, next_values, choosers)
    found = td_target(rewards, dones, discounts, next_values, choosers)
    th.testing.assert_close(found, double)
    assert not th.allclose(naive, double)


def test_td_loss_is_huber_by_hand_and_weights_scale_each_sample():
    values, targets = th.tensor([[0.0], [0.0], [1.0]]), th.tensor([[0.5], [-3.0], [1.0]])
    assert float(td_loss(values, targets)) == pytest.approx((0.125 + 2.5 + 0) / 3)
    weights = th.tensor([[1.0], [0.5], [0.1]])
    assert float(td_loss(values, targets, weights)) == pytest.approx((0.125 + 1.25) / 3)
