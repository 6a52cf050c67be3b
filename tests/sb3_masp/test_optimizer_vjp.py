import pytest
import torch as th
from torch.optim import SGD, Adam, AdamW, RMSprop

from sb3_masp.optimizer_vjp import (
    UnsupportedOptimizerError,
    adam_vjp,
    clip_vjp,
    optimizer_vjp,
    require_supported,
)

SIZE = 7


def jacobian_by_steps(make, gradient, history, cotangent, step=1e-6):
    """``cᵀ ∂θ′/∂g`` by running the optimizer itself, one perturbed entry at a time."""

    def moved(last):
        parameter = th.nn.Parameter(th.linspace(-1, 1, SIZE, dtype=th.float64))
        optimizer = make([parameter])
        for past in [*history, last]:
            parameter.grad = past.clone()
            optimizer.step()
        return parameter.detach()

    entries = []
    for i in range(SIZE):
        bump = th.zeros(SIZE, dtype=th.float64)
        bump[i] = step
        slope = (moved(gradient + bump) - moved(gradient - bump)) / (2 * step)
        entries.append(float(slope @ cotangent))
    return th.tensor(entries, dtype=th.float64)


@pytest.mark.parametrize("steps_before", [0, 3])
@pytest.mark.parametrize(
    "make",
    [
        lambda p: SGD(p, lr=0.3),
        lambda p: SGD(p, lr=0.3, momentum=0.9),
        lambda p: SGD(p, lr=0.3, momentum=0.9, nesterov=True),
        lambda p: Adam(p, lr=0.01, eps=1e-3),
        lambda p: Adam(p, lr=0.01, eps=1e-3, weight_decay=0.3),
        lambda p: AdamW(p, lr=0.01, eps=1e-3, weight_decay=0.3),
        lambda p: Adam(p, lr=0.01, eps=1e-3, weight_decay=0.3, decoupled_weight_decay=True),
        lambda p: RMSprop(p, lr=0.01, alpha=0.9, eps=1e-2),
    ],
    ids=["sgd", "momentum", "nesterov", "adam", "adam+decay", "adamw", "decoupled", "rmsprop"],
)
def test_vjp_matches_finite_differences_of_the_optimizer_itself(make, steps_before):
    generator = th.Generator().manual_seed(steps_before)
    *history, gradient, cotangent = (
        th.randn(SIZE, dtype=th.float64, generator=generator) for _ in range(steps_before + 2)
    )
    parameter = th.nn.Parameter(th.linspace(-1, 1, SIZE, dtype=th.float64))
    optimizer = make([parameter])
    for past in [*history, gradient]:
        before = parameter.detach().clone()
        parameter.grad = past.clone()
        optimizer.step()
    (found,) = optimizer_vjp(optimizer, [parameter], [cotangent], [before])
    expected = jacobian_by_steps(make, gradient, history, cotangent)
    th.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


def test_adam_vjp_takes_the_limit_where_the_second_moment_is_zero():
    zero = th.zeros(1, dtype=th.float64)
    settings = {"step": 5.0, "lr": 0.01, "betas": (0.9, 0.999), "eps": 1e-8}
    found = adam_vjp(zero + 1, zero, zero, zero, **settings)
    # u(g) for a g far smaller than ε, after four zero gradients: −lr m̂/ε with m = (1 − β₁) g.
    expected = -0.01 * (1 - 0.9) / (1 - 0.9**5) / 1e-8
    th.testing.assert_close(found, zero + expected)


def test_adam_vjp_is_the_same_where_steps_are_counted_in_a_tensor():
    generator = th.Generator().manual_seed(11)
    arguments = [th.rand(SIZE, dtype=th.float64, generator=generator) for _ in range(4)]
    settings = {"lr": 0.01, "betas": (0.9, 0.999), "eps": 1e-8}
    expected = adam_vjp(*arguments, step=5.0, **settings)
    counted = adam_vjp(*arguments, step=th.tensor(5.0, dtype=th.float64), **settings)
    th.testing.assert_close(counted, expected)


@pytest.mark.parametrize("kind", [Adam, RMSprop, SGD])
def test_parameters_cut_to_pieces_are_pulled_back_as_if_whole_in_any_layout(kind):
    generator = th.Generator().manual_seed(17)
    shape = (263, 257)  # more entries than a piece has
    value, *gradients, cotangent = (th.randn(shape, generator=generator) for _ in range(4))
    pulled = []
    for cut in (lambda t: [t.T.contiguous().T], lambda t: list(t.clone())):  # at once; row by row
        parameters = [th.nn.Parameter(part) for part in cut(value)]
        optimizer = kind(parameters, lr=0.1, weight_decay=0.3)
        for gradient in gradients:
            for parameter, part in zip(parameters, cut(gradient), strict=True):
                parameter.grad = part
            optimizer.step()
        pulled.append(optimizer_vjp(optimizer, parameters, cut(cotangent), cut(value)))
    (whole,), rows = pulled
    th.testing.assert_close(whole, th.stack(rows), rtol=1e-5, atol=0)


def test_clip_vjp_matches_autograd_above_and_below_the_limit():
    generator = th.Generator().manual_seed(13)
    a, b, c, d = (th.randn(n, dtype=th.float64, generator=generator) for n in (3, 5, 3, 5))
    for max_norm in (0.5, 100.0):

        def clipped(a, b, max_norm=max_norm):
            norm = th.cat((a, b)).norm()
            scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
            return a * scale, b * scale

        outputs, back = th.func.vjp(clipped, a, b)
        norm = th.cat((a, b)).norm()
        found = clip_vjp((c, d), outputs, norm, max_norm)
        th.testing.assert_close(tuple(found), tuple(back((c, d))))


@pytest.mark.parametrize(
    "make",
    [
        lambda p: Adam(p, amsgrad=True),
        lambda p: SGD(p, lr=1.0, momentum=0.9, dampening=0.5),
        lambda p: RMSprop(p, centered=True),
        lambda p: RMSprop(p, momentum=0.5),
        lambda p: th.optim.Adagrad(p),
    ],
)
def test_unsupported_optimizers_are_refused_by_name(make):
    optimizer = make([th.nn.Parameter(th.zeros(2))])
    with pytest.raises(UnsupportedOptimizerError, match=type(optimizer).__name__):
        require_supported(optimizer, "similarity_frozen=True")
