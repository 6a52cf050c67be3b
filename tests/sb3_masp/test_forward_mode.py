import pytest
import torch as th
from torch import nn
from torch.func import functional_call
from torch.nn.utils import parametrizations

from sb3_masp.forward_mode import LinearMaps, UnsupportedNetworkError, network_tangent
from sb3_masp.rainbow.noisy import NoisyLinear


class Network(nn.Module):
    """Every kind of linear map, some of them with settings or without bias, and one held still."""

    def __init__(self):
        super().__init__()
        self.images = nn.Conv2d(2, 3, 3, stride=2, padding=1)
        self.again = nn.Conv2d(3, 5, 2, bias=False)
        self.lines = nn.Conv1d(5, 3, 2)
        self.flat = nn.Linear(12, 7)
        self.noisy = NoisyLinear(7, 5)
        self.still = nn.Linear(5, 5)

    def forward(self, images):
        with th.no_grad():
            scale = self.still(images.new_ones(5)).mean()
        images = self.again(self.images(images).relu()).relu()
        lines = self.lines(images.flatten(2)[:, :, ::3]).flatten(1)
        flat = nn.functional.linear(bias=self.flat.bias, weight=self.flat.weight, input=lines)
        return self.noisy(flat.tanh()) * scale


@pytest.fixture
def problem():
    th.manual_seed(3)
    network = Network().double()
    parameters = {name: p.detach() for name, p in network.named_parameters()}
    tangents = {name: th.randn_like(p) for name, p in parameters.items()}
    images = th.randn(2, 2, 7, 11, dtype=th.float64)
    return network, images, parameters, tangents


def at(network, images):
    return lambda point: functional_call(network, dict(point), (images,))


def test_tangents_match_finite_differences(problem):
    network, images, parameters, tangents = problem
    del tangents["images.weight"], tangents["still.weight"], tangents["still.bias"]
    function = at(network, images)
    value, tangent = network_tangent(function, parameters, tangents)

    def moved(by):
        step = {name: parameters[name] + by * along for name, along in tangents.items()}
        return function(parameters | step)

    th.testing.assert_close(value, function(parameters))
    th.testing.assert_close(tangent, (moved(1e-6) - moved(-1e-6)) / 2e-6, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("held", [(), ("images.weight", "images.bias"), ("flat", "noisy")], ids=str)
def test_values_that_were_noted_change_neither_value_nor_tangent(problem, held):
    network, images, parameters, tangents = problem
    tangents = {name: along for name, along in tangents.items() if not name.startswith(held)}
    with LinearMaps() as maps:
        expected_value = network(images).detach()
    value, tangent = network_tangent(at(network, images), parameters, tangents, maps.outputs)
    _, expected = network_tangent(at(network, images), parameters, tangents)
    assert th.equal(value, expected_value)
    assert not value.requires_grad
    assert not tangent.requires_grad
    th.testing.assert_close(tangent, expected)


def test_values_that_were_noted_are_not_computed_again(problem):
    network, images, parameters, tangents = problem
    with LinearMaps() as maps:
        network(images)
    assert [len(output.shape) for output in maps.outputs] == [4, 4, 3, 2, 2, 2]
    doubled = [2 * output for output in maps.outputs]
    value, _ = network_tangent(at(network, images), parameters, tangents, doubled)
    th.testing.assert_close(value, 2 * network(images).detach())


class Cubed(th.autograd.Function):
    @staticmethod
    def forward(ctx, inputs):
        ctx.save_for_backward(inputs)
        return inputs**3

    @staticmethod
    def backward(ctx, along):
        return 3 * ctx.saved_tensors[0] ** 2 * along


class OfItsOwn(nn.Linear):
    def forward(self, inputs):
        return Cubed.apply(super().forward(inputs))


@pytest.mark.parametrize(
    "layer",
    [
        parametrizations.weight_norm(nn.Linear(3, 5)),
        parametrizations.spectral_norm(nn.Linear(3, 5)),
        OfItsOwn(3, 5),
    ],
    ids=["weight_norm", "spectral_norm", "function"],
)
def test_a_network_without_a_forward_derivative_is_refused(layer):
    parameters = {name: p.detach() for name, p in layer.named_parameters()}
    with pytest.raises(UnsupportedNetworkError, match=r"(?s)torch says .*similarity_frozen=True"):
        network_tangent(at(layer, th.randn(2, 3)), parameters, parameters)


def test_a_network_that_does_not_move_has_no_tangent(problem):
    network, images, parameters, _ = problem
    value, tangent = network_tangent(at(network, images), parameters, {})
    assert th.equal(value, network(images))
    assert th.equal(tangent, th.zeros_like(value))
