import math

import pytest
import torch as th

from sb3_masp.rainbow.noisy import NoisyLinear, scaled_noise


def layer(n_inputs=5, n_outputs=3, seed=1, **kwargs):
    th.manual_seed(seed)
    return NoisyLinear(n_inputs, n_outputs, **kwargs).double()


def naive(noisy, inputs):
    """Equations 9 to 11 of arXiv 1706.10295 with the noisy weights written out."""
    outputs = th.zeros(len(inputs), noisy.out_features, dtype=th.float64)
    for i, x in enumerate(inputs):
        for j in range(noisy.out_features):
            outputs[i, j] = noisy.bias[j] + noisy.bias_sigma[j] * noisy.noise_out[j]
            for k in range(noisy.in_features):
                noise = noisy.noise_out[j] * noisy.noise_in[k]
                outputs[i, j] += (noisy.weight[j, k] + noisy.weight_sigma[j, k] * noise) * x[k]
    return outputs


def vary(noisy):
    """σ that differ from entry to entry: equal ones would hide a transposition."""
    with th.no_grad():
        for parameter in noisy.parameters():
            parameter.copy_(th.randn_like(parameter))


def test_outputs_and_gradients_match_noisy_weights_written_out():
    noisy = layer()
    vary(noisy)
    inputs = th.randn(7, 5, dtype=th.float64, requires_grad=True)
    cotangent = th.randn(7, 3, dtype=th.float64)
    over = [inputs, *noisy.parameters()]
    th.testing.assert_close(noisy(inputs), naive(noisy, inputs))
    ours = th.autograd.grad((noisy(inputs) * cotangent).sum(), over)
    theirs = th.autograd.grad((naive(noisy, inputs) * cotangent).sum(), over)
    th.testing.assert_close(ours, theirs)


def test_without_noise_the_means_alone_act():
    noisy = layer()
    vary(noisy)
    inputs = th.randn(7, 5, dtype=th.float64)
    expected = inputs @ noisy.weight.T + noisy.bias
    th.testing.assert_close(noisy(inputs, noise=False), expected)
    assert not th.allclose(noisy(inputs), expected)


def test_noise_is_held_until_it_is_drawn_again():
    noisy, inputs = layer(), th.randn(7, 5, dtype=th.float64)
    held = noisy(inputs)
    noisy.train()
    assert th.equal(noisy(inputs), held)
    noisy.eval()
    assert th.equal(noisy(inputs), held)
    noisy.draw_noise()
    assert not th.equal(noisy(inputs), held)


@pytest.mark.parametrize("scale", [0.5, 0.1])
def test_parameters_start_as_the_paper_says(scale):
    noisy = layer(101, 89, noise_scale=scale)
    width = 1 / math.sqrt(101)
    for parameter in (noisy.weight, noisy.bias):
        mean = parameter.detach()
        assert float(mean.abs().max()) <= width
        assert float(mean.std()) == pytest.approx(width / math.sqrt(3), rel=0.15)
    for sigma in (noisy.weight_sigma, noisy.bias_sigma):
        th.testing.assert_close(sigma.detach(), th.full_like(sigma, scale * width))


def test_factors_have_the_moments_of_scaled_normals():
    th.manual_seed(2)
    noisy = NoisyLinear(40_009, 3)
    # E f = 0, E f² = E|x| = √(2/π), E f⁴ = E x² = 1.
    factor = noisy.noise_in.double()
    assert float(factor.mean()) == pytest.approx(0, abs=0.015)
    assert float(factor.square().mean()) == pytest.approx(math.sqrt(2 / math.pi), abs=0.015)
    assert float(factor.pow(4).mean()) == pytest.approx(1, abs=0.03)
    values = th.tensor([-4.0, 0.0, 2.25])
    th.testing.assert_close(scaled_noise(values), th.tensor([-2.0, 0.0, 1.5]))


def test_factors_of_one_layer_and_of_two_draws_are_independent():
    noisy = layer(40_009, 1)
    first = noisy.noise_in.clone()
    noisy.draw_noise()
    correlation = th.corrcoef(th.stack((first, noisy.noise_in)))[0, 1]
    assert abs(float(correlation)) < 0.02


def test_equal_seeds_draw_equal_noise():
    first, second = layer(seed=7), layer(seed=7)
    assert th.equal(first.noise_in, second.noise_in)
    assert th.equal(first.noise_out, second.noise_out)
