import math

import pytest
import torch as th

from sb3_masp.rainbow.losses import categorical_losses, categorical_target, dueling, project


def naive_target(rewards, dones, discounts, probabilities, support):
    """Algorithm 1 of arXiv 1707.06887, number by number."""
    low, high = float(support[0]), float(support[-1])
    spacing = (high - low) / (len(support) - 1)
    targets = [[0.0] * len(support) for _ in rewards]
    for i, row in enumerate(probabilities):
        for j, probability in enumerate(row):
            value = float(rewards[i]) + (1 - float(dones[i])) * float(discounts[i]) * (
                low + j * spacing
            )
            position = (min(max(value, low), high) - low) / spacing
            lower, upper = math.floor(position), math.ceil(position)
            if lower == upper:
                targets[i][lower] += float(probability)
            else:
                targets[i][lower] += float(probability) * (upper - position)
                targets[i][upper] += float(probability) * (position - lower)
    return th.tensor(targets, dtype=th.float64)


def random_batch(batch=7, atoms=11, scale=2.0):
    generator = th.Generator().manual_seed(5)
    draw = {"generator": generator, "dtype": th.float64}
    support = th.linspace(-3, 5, atoms, dtype=th.float64)
    probabilities = th.randn(batch, atoms, **draw).softmax(dim=1)
    rewards = scale * th.randn(batch, 1, **draw)
    dones = (th.rand(batch, 1, **draw) < 0.4).double()
    durations = th.randint(1, 9, (batch, 1), generator=generator)
    return rewards, dones, 0.9**durations, probabilities, support


@pytest.mark.parametrize("scale", [0.1, 2.0, 20.0], ids=["within", "some beyond", "most beyond"])
def test_targets_match_the_papers_loops_with_unequal_discounts_and_ends(scale):
    batch = random_batch(scale=scale)
    assert 0 < batch[1].sum() < 7
    targets = categorical_target(*batch)
    th.testing.assert_close(targets, naive_target(*batch))
    th.testing.assert_close(targets.sum(dim=1), th.ones(7, dtype=th.float64))


def test_targets_keep_their_mean_where_nothing_lies_beyond_the_ends():
    rewards, dones, discounts, probabilities, support = random_batch(scale=0.1)
    rewards = rewards.clamp(-0.2, 0.2)
    targets = categorical_target(rewards, dones, discounts, probabilities, support)
    means = rewards + (1 - dones) * discounts * (probabilities @ support).unsqueeze(1)
    th.testing.assert_close((targets @ support).unsqueeze(1), means)


def test_a_single_discount_serves_a_buffer_without_durations():
    rewards, dones, _, probabilities, support = random_batch()
    th.testing.assert_close(
        categorical_target(rewards, dones, 0.9, probabilities, support),
        naive_target(rewards, dones, [0.9] * 7, probabilities, support),
    )


def test_mass_that_hits_an_atom_stays_on_it_and_between_atoms_it_is_shared():
    positions = th.tensor([[0.0, 3.0, 4.0], [1.25, 1.25, -2.0], [9.0, 4.0, 3.5]])
    masses = th.tensor([[0.2, 0.3, 0.5], [0.4, 0.4, 0.2], [0.5, 0.25, 0.25]])
    expected = [[0.2, 0, 0, 0.3, 0.5], [0.2, 0.6, 0.2, 0, 0], [0, 0, 0, 0.125, 0.875]]
    th.testing.assert_close(project(masses, positions, 5), th.tensor(expected))


def test_an_episodes_end_puts_all_mass_beside_the_reward():
    support = th.linspace(-10, 10, 51)
    probabilities = th.rand(3, 51).softmax(dim=1)
    targets = categorical_target(
        th.tensor([[1.0], [-12.0], [0.2]]), th.ones(3, 1), 0.99, probabilities, support
    )
    th.testing.assert_close(targets[0, 27:29], th.tensor([0.5, 0.5]))
    th.testing.assert_close(targets[1, 0], th.tensor(1.0))
    th.testing.assert_close(targets[2, 25:27], th.tensor([0.5, 0.5]))


def test_losses_match_loops_and_vanish_where_the_target_is_met():
    generator = th.Generator().manual_seed(3)
    logits = th.randn(5, 7, generator=generator, dtype=th.float64, requires_grad=True)
    targets = th.rand(5, 7, generator=generator, dtype=th.float64)
    targets[2, 3] = 0.0
    targets /= targets.sum(dim=1, keepdim=True)
    losses = categorical_losses(logits.log_softmax(dim=1), targets)
    probabilities = logits.detach().softmax(dim=1)
    naive = [
        sum(float(t) * math.log(t / p) for t, p in zip(*rows, strict=True) if t > 0)
        for rows in zip(targets, probabilities, strict=True)
    ]
    th.testing.assert_close(losses, th.tensor(naive, dtype=th.float64))
    # That of the cross-entropy, by hand: p − t.
    (gradient,) = th.autograd.grad(losses.sum(), logits)
    th.testing.assert_close(gradient, probabilities - targets)
    met = categorical_losses(probabilities.log(), probabilities)
    th.testing.assert_close(met, th.zeros(5, dtype=th.float64))


def test_dueling_takes_the_mean_advantage_off_for_each_atom():
    generator = th.Generator().manual_seed(4)
    values = th.randn(2, 1, 5, generator=generator, dtype=th.float64)
    advantages = th.randn(2, 3, 5, generator=generator, dtype=th.float64)
    logits = dueling(values, advantages)
    for i in range(2):
        for a in range(3):
            for z in range(5):
                mean = sum(float(advantages[i, b, z]) for b in range(3)) / 3
                expected = float(values[i, 0, z]) + float(advantages[i, a, z]) - mean
                assert float(logits[i, a, z]) == pytest.approx(expected)
    th.testing.assert_close(logits.mean(dim=1, keepdim=True), values)
