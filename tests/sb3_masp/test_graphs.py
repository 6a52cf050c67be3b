import numpy as np
import pytest
import torch as th
from stable_baselines3.common.logger import configure
from stable_baselines3.common.utils import LinearSchedule
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from macro_gym.errors import LearnerSettingError
from sb3_masp import MASPDQN, MASPQRDQN, MASPRainbow, Rainbow, macro_learner
from sb3_masp.graphs import Graphs
from tests.sb3_masp.learners import LEARNERS, small

DEVICES = ["cpu"] + ["cuda"] * th.cuda.is_available()

VARIANTS = {
    "MASPDQN": (MASPDQN, {"meta_interval": 4, "double_q": True}),
    "schedules": (
        MASPDQN,
        {
            "eta": LinearSchedule(3.0, 0.3, 1.0),
            "learning_rate": LinearSchedule(1e-2, 1e-3, 1.0),
            "meta_learning_rate": LinearSchedule(1e-1, 1e-2, 1.0),
            "meta_interval": 1,
        },
    ),
    "average": (
        MASPDQN,
        {"meta_interval": 1, "meta_average": 2, "outer_batch_size": 7, "max_grad_norm": 0.1},
    ),
    "kernel": (
        MASPDQN,
        {"meta_interval": 1, "similarity": "kernel", "meta_gradient": "last_layer"},
    ),
    "state": (MASPDQN, {"meta_interval": 1, "similarity": "state"}),
    "auxiliary": (MASPDQN, {"similarity_learning": "auxiliary"}),
    "η is zero": (MASPDQN, {"eta": 0}),
    "MASPQRDQN": (MASPQRDQN, {"meta_interval": 1, "max_grad_norm": 10}),
    "Rainbow": (Rainbow, {}),
    "MASPRainbow": (MASPRainbow, {"meta_interval": 4}),
}


class Rehearsal(Graphs):
    """Graphs on a CPU: a replay runs the part again, on the batch and into the results it has."""

    def _require_cuda(self):
        self.replays = 0

    def _aside(self, part, arguments):
        return part(*arguments)

    def _record(self, part):
        results = []

        def replay():
            self.replays += 1
            self.capturing = True  # a replay cannot look at the host either
            results.append(part())
            self.capturing = False
            for to, tensor in zip(*map(tree_leaves, (results[0], results[-1])), strict=True):
                if isinstance(to, th.Tensor):
                    to.copy_(tensor)
            return results[0]

        return replay


def prepared(learner, device="cpu", **kwargs):
    """A learner whose replay is filled, before its first update."""
    # Adam would enlarge roundings where gradients are as small as those of the weights of e_Σ.
    policy_kwargs = {"net_arch": [11], "optimizer_kwargs": {"eps": 1e-4}}
    settings = {"learning_starts": 10**9, "device": device, "policy_kwargs": policy_kwargs}
    model = small(learner, **settings | kwargs)
    model.set_logger(configure(None, []))
    return model.learn(83)


def trained(model, updates=13):
    """The model after ``updates`` at falling schedules."""
    np.random.seed(5)
    th.manual_seed(5)
    for update in range(updates):
        model._current_progress_remaining = 1 - update / updates
        model.train(1, 13)
    return model


def state(model):
    """All that an update changes."""
    optimizers = [optimizer.state_dict()["state"] for optimizer in model._optimizers()]
    state = {"network": model._network.state_dict(), "optimizers": optimizers}
    if hasattr(model, "similarity"):
        state["similarity"] = model.similarity.state_dict()
    if model.prioritized_replay:
        state["priorities"] = model.replay_buffer._tree[np.arange(83)]
    return state


def assert_same_learning(graphed, eager):
    th.testing.assert_close(state(graphed), state(eager), rtol=1e-4, atol=1e-6)
    graphed._run.log()
    ours, theirs = (model.logger.name_to_value for model in (graphed, eager))
    assert ours.keys() == theirs.keys()
    for name in theirs:
        assert ours[name] == pytest.approx(theirs[name], rel=1e-4, abs=1e-9), name


# On a CPU replays are rehearsed; where there is a GPU, it takes the graphs themselves.
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_replaying_the_parts_of_an_update_is_taking_it(variant, device, monkeypatch):
    learner, kwargs = VARIANTS[variant]
    eager = trained(prepared(learner, device, **kwargs))
    if device == "cpu":
        monkeypatch.setattr(macro_learner, "Graphs", Rehearsal)
    graphed = trained(prepared(learner, device, cuda_graph=True, **kwargs))
    assert_same_learning(graphed, eager)
    assert graphed._run._captured


def test_other_shapes_and_settings_are_captured_anew_and_loaded_parameters_too(monkeypatch):
    def changing(model):
        trained(model, 5)
        model.max_grad_norm = 0.01
        trained(model, 5)
        model.train(5, 11)
        model.set_parameters(model.get_parameters())
        assert not getattr(model._run, "_captured", {})  # they lie elsewhere now
        return trained(model, 5)

    eager = changing(prepared(MASPDQN, meta_interval=1))
    monkeypatch.setattr(macro_learner, "Graphs", Rehearsal)
    assert_same_learning(changing(prepared(MASPDQN, meta_interval=1, cuda_graph=True)), eager)


def test_a_saved_model_goes_on_without_graphs(monkeypatch, tmp_path):
    eager = trained(prepared(MASPDQN, meta_interval=1))
    with monkeypatch.context() as patch:
        patch.setattr(macro_learner, "Graphs", Rehearsal)
        graphed = trained(prepared(MASPDQN, meta_interval=1, cuda_graph=True))
        graphed.save(tmp_path / "model")
    loaded = MASPDQN.load(tmp_path / "model", cuda_graph=False)
    loaded.set_logger(configure(None, []))
    loaded.replay_buffer = graphed.replay_buffer
    th.testing.assert_close(state(trained(loaded)), state(trained(eager)), rtol=1e-4, atol=1e-6)


class OnOneDevice(TorchDispatchMode):
    """Refuses what a graph could not hold: tensors of the host."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, th.Tensor)]
        assert all(tensor.is_meta for tensor in tensors), f"{func} reads a tensor of the host"
        return func(*args, **(kwargs or {}))


class Purely(Rehearsal):
    """Runs the parts of an update on a device whose tensors hold nothing, so that none is read."""

    def __call__(self, part, *arguments):
        with OnOneDevice():
            self.replays += 1
            return part(*arguments)


def pretended_step(optimizer):
    """What Adam's step leaves behind; torch captures its own, but not on this device."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            moments = {name: th.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
            step = {"step": th.zeros((), device=parameter.device)}
            optimizer.state[parameter] = step | moments


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "auxiliary"])
def test_no_part_of_an_update_waits_for_the_device(variant, monkeypatch):
    # Asking a tensor of the device "meta" for its value raises; so does copying it to the host.
    learner, kwargs = VARIANTS[variant]
    monkeypatch.setattr(macro_learner, "Graphs", Purely)
    monkeypatch.setattr(th.optim.Adam, "step", pretended_step)
    model = small(learner, device="meta", cuda_graph=True, **kwargs)
    model.set_logger(configure(None, []))
    model.policy.optimizer = th.optim.Adam(model.policy.parameters())
    filled = prepared(learner, **kwargs)
    model.replay_buffer = filled.replay_buffer
    model.replay_buffer.device = th.device("meta")
    monkeypatch.setattr(model.replay_buffer, "update_priorities", lambda *_: None)
    for _ in range(5):
        model.train(1, 13)
    assert model._run.replays >= 5


@pytest.mark.parametrize("learner", LEARNERS)
def test_without_a_gpu_graphs_are_refused(learner):
    with pytest.raises(LearnerSettingError, match="needs a GPU, but the learner is on cpu"):
        small(learner, device="cpu", cuda_graph=True)


def test_optimizers_that_cannot_be_captured_are_refused(monkeypatch):
    monkeypatch.setattr(macro_learner, "Graphs", Rehearsal)
    with pytest.raises(LearnerSettingError, match=r"captures Adam and AdamW, .* is SGD"):
        small(MASPDQN, policy_kwargs={"optimizer_class": th.optim.SGD}, cuda_graph=True)
