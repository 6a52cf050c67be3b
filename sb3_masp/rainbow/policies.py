"""Rainbow's network, and the policies with it as online and target network."""

from itertools import pairwise
from typing import Any, cast

import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, NatureCNN
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.dqn import policies as sb3
from torch import Tensor, nn

from sb3_masp.rainbow.losses import dueling
from sb3_masp.rainbow.noisy import NoisyLinear


class NatureConvolutions(NatureCNN):
    """The convolutions of SB3's Nature CNN, whose linear layer moves into Rainbow's streams.

    Args:
        observation_space: Space of images, channels first.
        normalized_image: As for `NatureCNN`.
    """

    def __init__(self, observation_space: spaces.Box, normalized_image: bool = False) -> None:
        """Build the network and remove its linear layer."""
        super().__init__(observation_space, 1, normalized_image)
        self._features_dim = cast(nn.Linear, self.linear[0]).in_features
        del self.linear

    def forward(self, observations: Tensor) -> Tensor:
        """Return the last convolution's activations, shape ``(batch, features)``."""
        features: Tensor = self.cnn(observations)
        return features


class Stream(nn.Sequential):
    """Linear layers, noisy or not, with activations in between."""

    def forward(self, features: Tensor, noise: bool = True) -> Tensor:
        """Return the last layer's output, with the current noise or without."""
        for layer in self:
            features = layer(features, noise) if isinstance(layer, NoisyLinear) else layer(features)
        return features


class RainbowNetwork(sb3.QNetwork):
    """Maps features, through streams of values and advantages, to distributions of returns.

    Calling it on observations gives Q(s, ·). Without noisy layers, dueling and distributions, it is
    SB3's Q-network.

    Args:
        observation_space: Observation space.
        action_space: Action space.
        features_extractor: Turns observations into features.
        features_dim: Number of features.
        net_arch: Sizes of each stream's hidden layers.
        activation_fn: Activation between the layers.
        normalize_images: Whether images are divided by 255.
        noisy: Whether linear layers are noisy (arXiv 1706.10295).
        dueling: Whether values have a separate stream (arXiv 1511.06581).
        distributional: Whether returns are distributions (arXiv 1707.06887).
        n_atoms: Number of atoms of the distributions.
        v_min: Lowest atom, a return.
        v_max: Highest atom.
        noise_scale: σ₀ of the noisy layers.
    """

    support: Tensor

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Discrete,
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        net_arch: list[int] | None = None,
        activation_fn: type[nn.Module] = nn.ReLU,
        normalize_images: bool = True,
        *,
        noisy: bool = True,
        dueling: bool = True,
        distributional: bool = True,
        n_atoms: int = 51,
        v_min: float = -10.0,
        v_max: float = 10.0,
        noise_scale: float = 0.5,
    ) -> None:
        """Build the streams."""
        # Not QNetwork's constructor: it would build another head.
        BasePolicy.__init__(
            self,
            observation_space,
            action_space,
            features_extractor=features_extractor,
            normalize_images=normalize_images,
        )
        self.features_dim = features_dim
        self.net_arch = [64, 64] if net_arch is None else net_arch
        self.activation_fn = activation_fn
        self.noisy = noisy
        self.dueling = dueling
        self.distributional = distributional
        self.noise_scale = noise_scale
        self.n_atoms = n_atoms if distributional else 1
        self.register_buffer("support", th.linspace(v_min, v_max, n_atoms))
        self.advantages = self._stream(int(action_space.n) * self.n_atoms)
        if dueling:
            self.values = self._stream(self.n_atoms)

    def forward(self, obs: PyTorchObs, noise: bool = True) -> Tensor:
        """Return Q(s, ·), shape ``(batch, actions)``, with the current noise or without."""
        return self.expected_values(self.logits(obs, noise))

    def logits(self, obs: PyTorchObs, noise: bool = True) -> Tensor:
        """Return the logits of Z(s, ·), shape ``(batch, actions, atoms)``; or Q as one atom."""
        features = self.extract_features(obs, self.features_extractor)
        shape = (len(features), -1, self.n_atoms)
        advantages = self.advantages.forward(features, noise).view(shape)
        if not self.dueling:
            return advantages
        return dueling(self.values.forward(features, noise).view(shape), advantages)

    def expected_values(self, logits: Tensor) -> Tensor:
        """Return Q from the result of `logits`: the means of the distributions."""
        if not self.distributional:
            return logits.squeeze(2)
        means: Tensor = logits.softmax(dim=2) @ self.support
        return means

    def draw_noise(self) -> None:
        """Draw new noise for all layers."""
        for module in self.modules():
            if isinstance(module, NoisyLinear):
                module.draw_noise()

    def _stream(self, n_outputs: int) -> Stream:
        """A stream from the features to ``n_outputs`` numbers."""
        hidden = [
            layer
            for sizes in pairwise([self.features_dim, *self.net_arch])
            for layer in (self._linear(*sizes), self.activation_fn())
        ]
        last = self.net_arch[-1] if self.net_arch else self.features_dim
        return Stream(*hidden, self._linear(last, n_outputs))

    def _linear(self, n_inputs: int, n_outputs: int) -> nn.Linear:
        """A linear layer, noisy if the network is."""
        if self.noisy:
            return NoisyLinear(n_inputs, n_outputs, self.noise_scale)
        return nn.Linear(n_inputs, n_outputs)

    def _predict(self, observation: PyTorchObs, deterministic: bool = True) -> Tensor:
        """Return the greedy actions, with new noise unless ``deterministic``."""
        if not deterministic:
            self.draw_noise()
        return self.forward(observation, noise=not deterministic).argmax(dim=1)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        """Arguments that rebuild the network."""
        parts = ("noisy", "dueling", "distributional", "noise_scale")
        ours = {name: getattr(self, name) for name in parts}
        v_min, v_max = self.support[[0, -1]].tolist()
        ours |= {"n_atoms": len(self.support), "v_min": v_min, "v_max": v_max}
        return super()._get_constructor_parameters() | ours


class MlpPolicy(sb3.DQNPolicy):
    """SB3's DQN policy with Rainbow's networks.

    Args:
        args: As in SB3.
        network_kwargs: Keyword arguments of `RainbowNetwork`; the learner sets them.
        kwargs: As in SB3; Adam is fused and has Rainbow's ε, 1.5e-4, unless ``optimizer_kwargs``
            say otherwise.
    """

    q_net: RainbowNetwork
    q_net_target: RainbowNetwork

    def __init__(
        self,
        *args: Any,
        network_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Store what `make_q_net` needs, since SB3's constructor calls it."""
        self.network_kwargs = network_kwargs or {}
        if kwargs.get("optimizer_class", th.optim.Adam) is th.optim.Adam:
            chosen = kwargs.get("optimizer_kwargs") or {}
            # Fused, since with millions of parameters it takes a third of the default's time.
            fused = {} if "foreach" in chosen else {"fused": True}
            kwargs["optimizer_kwargs"] = {"eps": 1.5e-4} | fused | chosen
        super().__init__(*args, **kwargs)

    def _build(self, lr_schedule: Schedule) -> None:
        """Build the networks and the optimizer."""
        self.net_args |= self.network_kwargs
        super()._build(lr_schedule)

    def make_q_net(self) -> RainbowNetwork:
        """Return a new network, for values or for targets."""
        net_args = self._update_features_extractor(self.net_args, features_extractor=None)
        return RainbowNetwork(**net_args).to(self.device)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        """Arguments that rebuild the policy."""
        return super()._get_constructor_parameters() | {"network_kwargs": self.network_kwargs}


class CnnPolicy(MlpPolicy, sb3.CnnPolicy):
    """`MlpPolicy` for images: Nature's convolutions, then streams with a hidden layer of 512.

    Args:
        args: As in SB3.
        net_arch: Sizes of each stream's hidden layers; SB3's choice for other extractors if None.
        features_extractor_class: As in SB3.
        kwargs: As for `MlpPolicy`.
    """

    def __init__(
        self,
        *args: Any,
        net_arch: list[int] | None = None,
        features_extractor_class: type[BaseFeaturesExtractor] = NatureConvolutions,
        **kwargs: Any,
    ) -> None:
        """Choose the hidden layers."""
        if net_arch is None and features_extractor_class is NatureConvolutions:
            net_arch = [512]
        super().__init__(
            *args, net_arch=net_arch, features_extractor_class=features_extractor_class, **kwargs
        )


class MultiInputPolicy(MlpPolicy, sb3.MultiInputPolicy):
    """`MlpPolicy` for Dict observations."""
