"""Settings of a training run, as the command line takes them and ``config.json`` keeps them."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from inspect import signature
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import tyro
from stable_baselines3.common.utils import LinearSchedule

from macro_gym.errors import MacroGymError
from sb3_masp.device_replay import DeviceReplayBuffer
from sb3_masp.dqn import MASPDQN
from sb3_masp.macro_model import MacroModel
from sb3_masp.pairwise import PairwiseA2C
from sb3_masp.qrdqn import MASPQRDQN
from sb3_masp.rainbow import MASPRainbow, Rainbow
from sb3_masp.similarity.initial import Start
from sb3_masp.similarity.transfer import Unmapped
from sb3_masp.similarity_learning import AuxiliaryHead, MetaLearning, SharedMetaLearning
from sb3_masp.train_freq import DECISION

Option = int | float | bool | str
"""What an argument of ``gym.make`` may be on the command line."""

AlgorithmName = Literal["masp-dqn", "masp-qrdqn", "masp-rainbow", "rainbow", "dqn", "pairwise-a2c"]


class RunError(MacroGymError, ValueError):
    """A run's folder or settings that cannot be used for what was asked."""


class Algorithm(NamedTuple):
    """What ``--algorithm`` stands for.

    Args:
        learner: The class.
        fixed: Its arguments that make it what the name says.
    """

    learner: type[MacroModel]
    fixed: dict[str, Any]


def _require(config: object, name: str, fits: Callable[[Any], bool], allowed: str) -> None:
    """Refuse a setting that does not fit; None, a default of someone else's, always does.

    Raises:
        RunError: It does not; the message says what is allowed.
    """
    value = getattr(config, name)
    if value is not None and not fits(value):
        option = f"--{name.replace('_', '-')}"
        raise RunError(f"{option} is {value}; it must be {allowed}")


ALGORITHMS: dict[AlgorithmName, Algorithm] = {
    "masp-dqn": Algorithm(MASPDQN, {}),
    "masp-qrdqn": Algorithm(MASPQRDQN, {}),
    "masp-rainbow": Algorithm(MASPRainbow, {}),
    "rainbow": Algorithm(Rainbow, {}),
    # Without penalty and conditioning it is SB3's DQN, and knows how long decisions last.
    "dqn": Algorithm(MASPDQN, {"eta": 0.0, "embedding_dim": 0, "similarity_frozen": True}),
    "pairwise-a2c": Algorithm(PairwiseA2C, {}),
}


ARGUMENTS = {
    "eta_final": "eta",
    "meta_learning_rate_final": "meta_learning_rate",
    "auxiliary_prior": "similarity_learning",
    "replay_on_device": "replay_buffer_class",
}
"""Settings that become part of a learner's argument of another name."""


FLAGS = (
    *("similarity_frozen", "replay_on_device", "cuda_graph", "overlap_updates"),
    *("weights_frozen", "inner_resets", "redistribute_rewards", "normalize_advantage"),
)
"""Settings that are given or not."""


META_SETTINGS = {"outer_batch_size", "meta_learning_rate", "meta_learning_rate_final"} | {
    f"meta_{name}" for name in ("interval", "average", "gradient")
}
"""Settings of meta-learning, which other ways to find Σ have no use for."""


def _defaults(name: str) -> str:
    """What a learner's argument is by default, learner by learner where they differ."""
    learners: dict[str, list[str]] = {}
    for algorithm, (learner, fixed) in ALGORITHMS.items():
        parameter = signature(learner).parameters.get(name)
        if parameter is not None and name not in fixed:
            value = parameter.default
            value = value[0] if isinstance(value, tuple) else value
            text = f"{value:g}" if isinstance(value, float) else str(value)
            learners.setdefault(text, []).append(algorithm)
    if len(learners) < 2:
        return f"(default: {next(iter(learners), 'none')})"
    each = (f"{text} of {', '.join(names)}" for text, names in learners.items())
    return f"(default: {'; '.join(each)})"


def _telling_defaults(config: type[Any]) -> type[Any]:
    """Let the command line's help tell the learners' own defaults of what is None here."""
    for name, hint in config.__annotations__.items():
        if name not in FLAGS:
            told = tyro.conf.arg(help_behavior_hint=_defaults(name))
            config.__annotations__[name] = Annotated[hint, told]
    return config


@dataclass(frozen=True)
@_telling_defaults
class LearnerConfig:
    """Arguments of the learner, whose own defaults hold for those that are left out.

    Args:
        learning_rate: Learning rate of the network.
        buffer_size: Decisions kept for replay.
        learning_starts: Decisions before the first update.
        batch_size: Decisions in a batch.
        gamma: Discount of one step.
        train_freq: Decisions between updates, over all environments.
        gradient_steps: Updates each time that some are due.
        n_steps: Decisions in a return; of pairwise-a2c, of each environment in a rollout.
        target_update_interval: Decisions between updates of the target network.
        exploration_fraction: Share of the frames over which exploration falls.
        exploration_final_eps: Share of random decisions afterwards.
        max_grad_norm: Norm that gradients are clipped to.
        eta: Weight of the similarity penalty; 0 for none.
        eta_final: Weight of the penalty at the end, reached in a straight line over the frames.
        meta_learning_rate: Learning rate of the similarity, or of pairwise-a2c's weights of credit.
        meta_learning_rate_final: That learning rate at the end, reached likewise.
        meta_interval: Updates for one outer step of the similarity.
        meta_average: Outer steps averaged in one step of the similarity.
        outer_batch_size: Decisions in an outer batch; as batch_size by default.
        meta_gradient: The similarity's gradient: exact, or the last layer's part of it.
        penalty_reduction: Whether the penalty is the mean or the sum over actions.
        similarity: Form of the similarity: softmax, softmax_diagonal, sigmoid, unconstrained,
            low_rank, kernel, group_kernel, state; or a control: fixed, uniform, identity, overlap,
            permuted; or a similarity file, of any game, which is carried over to the actions. Of
            thousands of actions: low_rank or group_kernel.
        similarity_start: What the similarity starts from: uniform, overlap, identity, permuted,
            random, or a similarity file of the same actions.
        similarity_frozen: Keep the similarity as it starts.
        similarity_learning: How the similarity is learned: meta, meta_shared, auxiliary.
        auxiliary_prior: Weight of handcrafted overlap in the auxiliary way; 0.5 suits it.
        embedding_dim: Numbers that tell the network of the similarity; 0 for none.
        embedding: How these numbers are made of the similarity.
        clip_rewards: Clip each step's reward to [-1, 1] for learning; by default for MacroALE and
            MacroRetro only, not for ALE's own ids.
        double_q: Double Q-learning.
        prioritized_replay: Prioritised replay.
        dueling: Give values and advantages streams of their own.
        noisy: Explore by noise in the network.
        distributional: Learn distributions of returns.
        n_atoms: Number of atoms of the distributions of returns.
        v_min: The lowest atom: returns below it are taken for it.
        v_max: The highest atom.
        noise_scale: Scale at which the noisy layers' noise starts.
        replay_on_device: Hold the replay where the network is, if it fits there.
        cuda_graph: Replay updates as CUDA graphs; needs a GPU.
        overlap_updates: Take updates while environments step.
        gae_lambda: λ of regular advantages, by which weights of credit are judged.
        ent_coef: Weight of the policy's entropy.
        vf_coef: Weight of the loss of values.
        normalize_advantage: Give the advantages of a rollout mean zero and deviation one.
        advantage: What weights of credit sum: pwtd, TD errors; or pwr, rewards.
        weights: Form of the weights of credit: table, for numbered states; embedding; or a control:
            geometric, state_lambda, sequence; or a file of weights, which is where they start.
        weights_frozen: Keep the weights of credit as they start.
        inner_steps: Updates of the policy for one of the weights of credit.
        inner_resets: Begin the policy anew after each update of the weights.
        redistribute_rewards: Sum rewards as a predictor of returns moves them: a control.
    """

    learning_rate: float | None = None
    buffer_size: int | None = None
    learning_starts: int | None = None
    batch_size: int | None = None
    gamma: float | None = None
    train_freq: int | None = None
    gradient_steps: int | None = None
    n_steps: int | None = None
    target_update_interval: int | None = None
    exploration_fraction: float | None = None
    exploration_final_eps: float | None = None
    max_grad_norm: float | None = None
    eta: float | None = None
    eta_final: float | None = None
    meta_learning_rate: float | None = None
    meta_learning_rate_final: float | None = None
    meta_interval: int | None = None
    meta_average: int | None = None
    outer_batch_size: int | None = None
    meta_gradient: Literal["exact", "last_layer"] | None = None
    penalty_reduction: Literal["mean", "sum"] | None = None
    similarity: str | None = None
    similarity_start: Start | None = None
    similarity_frozen: bool = False
    similarity_learning: str | None = None
    auxiliary_prior: float | None = None
    embedding_dim: int | None = None
    embedding: Literal["factored", "dense"] | None = None
    clip_rewards: bool | None = None
    double_q: bool | None = None
    prioritized_replay: bool | None = None
    dueling: bool | None = None
    noisy: bool | None = None
    distributional: bool | None = None
    n_atoms: int | None = None
    v_min: float | None = None
    v_max: float | None = None
    noise_scale: float | None = None
    replay_on_device: bool = False
    cuda_graph: bool = False
    overlap_updates: bool = False
    gae_lambda: float | None = None
    ent_coef: float | None = None
    vf_coef: float | None = None
    normalize_advantage: bool = False
    advantage: Literal["pwtd", "pwr"] | None = None
    weights: str | None = None
    weights_frozen: bool = False
    inner_steps: int | None = None
    inner_resets: bool = False
    redistribute_rewards: bool = False

    def __post_init__(self) -> None:
        """Check what SB3 would take and fail on later."""
        for name in ("buffer_size", "batch_size", "train_freq", "n_steps", "inner_steps"):
            _require(self, name, lambda value: value >= 1, "at least 1")
        _require(self, "target_update_interval", lambda value: value >= 1, "at least 1")
        _require(self, "learning_starts", lambda value: value >= 0, "at least 0")
        _require(
            self,
            "gradient_steps",
            lambda value: value >= 1 or value == -1,
            "at least 1, or -1 for as many as there were decisions",
        )
        for name in ("learning_rate", "max_grad_norm"):
            _require(self, name, lambda value: 0 < value < math.inf, "above 0, and finite")
        for name in ("eta_final", "meta_learning_rate_final", "ent_coef", "vf_coef"):
            _require(self, name, lambda value: 0 <= value < math.inf, "at least 0, and finite")
        for name in ("gamma", "gae_lambda", "exploration_fraction", "exploration_final_eps"):
            _require(self, name, lambda value: 0 <= value <= 1, "within 0..1")


@dataclass(frozen=True)
class TrainConfig:
    """A run's settings.

    Args:
        env: Id of the environment.
        algorithm: The learner; dqn is MASPDQN without penalty and conditioning, pairwise-a2c is A2C
            that learns to whom credit goes across time.
        frames: Budget in emulator frames (steps, where there is no emulator).
        k: Macros; by default 128 of the game's bank. 0 for primitives only.
        macros: File of a macro set, of this game or another, to use instead of the game's bank; or
            the folder of a run, for its macros.
        macros_unmapped: What to do with macros of which the game lacks a primitive: refuse, or
            leave them out.
        obs_type: What the agent sees of a game: its screens by default, or the console's memory.
        options: Other arguments of ``gym.make``, name and value in turn, such as screen_size 42.
        n_envs: Environments; games with macros are stepped side by side, others in turn.
        seed: Seed of all that is drawn at random.
        net_arch: Sizes of the hidden layers; SB3's by default.
        threads: Threads of torch; as many as it chooses by default.
        device: cpu, cuda or auto.
        similarity_unmapped: What to do with actions to which a file of a similarity cannot be
            carried over: refuse, or let them be similar to all, or to what they overlap with.
        similarity_unfreeze_at: Frames after which a frozen similarity learns.
        run: Folder for the run; by default one in runs/ named after it.
        checkpoint_every: Decisions between checkpoints; None for none.
        learner: Arguments of the learner.
    """

    env: tyro.conf.Positional[str] = "MacroALE/Breakout-v5"
    algorithm: Annotated[AlgorithmName, tyro.conf.arg(aliases=["--algo"])] = "masp-dqn"
    frames: int = 1_000_000
    k: int | None = None
    macros: Path | None = None
    macros_unmapped: Literal["error", "drop"] = "error"
    obs_type: Literal["grayscale", "ram"] | None = None
    options: dict[str, Option] = field(default_factory=dict)
    n_envs: int = 1
    seed: int = 0
    net_arch: tuple[int, ...] | None = None
    threads: int | None = None
    device: str = "auto"
    similarity_unmapped: Unmapped = "error"
    similarity_unfreeze_at: int | None = None
    run: Path | None = None
    checkpoint_every: int | None = 10_000
    learner: Annotated[LearnerConfig, tyro.conf.arg(name="")] = field(default_factory=LearnerConfig)

    def __post_init__(self) -> None:
        """Check what would fail later, or do nothing."""
        for name in ("frames", "n_envs", "threads", "checkpoint_every", "similarity_unfreeze_at"):
            _require(self, name, lambda value: value >= 1, "at least 1")
        if self.similarity_unfreeze_at is not None and not self.learner.similarity_frozen:
            raise RunError("--similarity-unfreeze-at goes with --similarity-frozen")
        never = f"below --frames, {self.frames}, or nothing is unfrozen"
        _require(self, "similarity_unfreeze_at", lambda value: value < self.frames, never)
        _require(self, "seed", lambda value: 0 <= value < 2**32, "within 0..4294967295")
        _require(self, "net_arch", lambda sizes: min(sizes, default=1) >= 1, "at least 1 each")
        own = "other than k, macros and obs_type, which have options of their own"
        _require(self, "options", lambda given: not {"k", "macros", "obs_type"} & {*given}, own)

    @property
    def folder(self) -> Path:
        """The run's folder."""
        macros = "" if self.k is None else f"-k{self.k}"
        eta = "" if self.learner.eta is None else f"-eta{self.learner.eta}"
        name = f"{self.env.replace('/', '-')}-{self.algorithm}{macros}{eta}-seed{self.seed}"
        return self.run or Path("runs") / name

    @property
    def env_kwargs(self) -> dict[str, Any]:
        """What ``gym.make`` is given beside the id."""
        chosen = {"k": self.k, "macros": self.macros, "obs_type": self.obs_type}
        return self.options | {name: value for name, value in chosen.items() if value is not None}

    @property
    def learner_kwargs(self) -> dict[str, Any]:
        """What the learner is given beside policy, environment, seed and device.

        Raises:
            RunError: A setting is not one of this learner's, or goes with another one.
        """
        learner, fixed = ALGORITHMS[self.algorithm]
        chosen = {
            name: value
            for name, value in asdict(self.learner).items()
            if value is not None and (value or name not in FLAGS)
        }
        known = signature(learner).parameters
        for name in chosen:
            argument = ARGUMENTS.get(name, name)
            if argument in fixed or argument not in known:
                raise RunError(
                    f"--{name.replace('_', '-')} is no setting of {self.algorithm}; leave it out "
                    "or choose another --algorithm"
                )
        by_gradient = (MetaLearning.way, SharedMetaLearning.way)
        if chosen.get("similarity_learning", MetaLearning.way) not in by_gradient:
            for name in sorted(META_SETTINGS & chosen.keys()):
                raise RunError(
                    f"--{name.replace('_', '-')} goes with --similarity-learning {MetaLearning.way}"
                )
        if "train_freq" in chosen:
            chosen["train_freq"] = (chosen["train_freq"], DECISION)
        for name in ("eta", "meta_learning_rate"):
            if (final := chosen.pop(f"{name}_final", None)) is not None:
                start = chosen.get(name, known[name].default)
                chosen[name] = LinearSchedule(start, final, end_fraction=1.0)
        if (prior := chosen.pop("auxiliary_prior", None)) is not None:
            if chosen.get("similarity_learning") != AuxiliaryHead.way:
                raise RunError("--auxiliary-prior goes with --similarity-learning auxiliary")
            chosen["similarity_learning"] = AuxiliaryHead(prior=prior)
        if chosen.pop("replay_on_device", False):
            chosen["replay_buffer_class"] = DeviceReplayBuffer
        return chosen | fixed


def read_config(folder: Path) -> TrainConfig:
    """The settings of the run in ``folder``.

    Raises:
        RunError: There is no run.
    """
    try:
        content = json.loads((folder / "config.json").read_text())["config"]
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{folder} holds no run (config.json: {error})") from error
    learner = LearnerConfig(**content.pop("learner"))
    for name in ("macros", "run"):
        content[name] = None if content[name] is None else Path(content[name])
    if content["net_arch"] is not None:
        content["net_arch"] = tuple(content["net_arch"])
    return TrainConfig(**content | {"run": folder}, learner=learner)
