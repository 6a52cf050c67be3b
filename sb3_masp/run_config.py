"""Settings of a training run, for the command line and ``config.json``."""

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
"""Types that arguments of ``gym.make`` may have on the command line."""

AlgorithmName = Literal["masp-dqn", "masp-qrdqn", "masp-rainbow", "rainbow", "dqn", "pairwise-a2c"]


class RunError(MacroGymError, ValueError):
    """A run's folder or settings that cannot be used as requested."""


class Algorithm(NamedTuple):
    """A choice of ``--algorithm``.

    Args:
        learner: Class of the learner.
        fixed: Arguments that the name fixes.
    """

    learner: type[MacroModel]
    fixed: dict[str, Any]


def _require(config: object, name: str, fits: Callable[[Any], bool], allowed: str) -> None:
    """Reject a setting that is out of range; None, which leaves a default in place, never is.

    Raises:
        RunError: It is out of range; the message says what is allowed.
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
    # Without penalty and conditioning it is SB3's DQN, and accounts for durations of decisions.
    "dqn": Algorithm(MASPDQN, {"eta": 0.0, "embedding_dim": 0, "similarity_frozen": True}),
    "pairwise-a2c": Algorithm(PairwiseA2C, {}),
}


ARGUMENTS = {
    "eta_final": "eta",
    "meta_learning_rate_final": "meta_learning_rate",
    "auxiliary_prior": "similarity_learning",
    "replay_on_device": "replay_buffer_class",
}
"""Settings that set a learner's argument of another name."""


FLAGS = (
    *("similarity_frozen", "replay_on_device", "cuda_graph", "overlap_updates"),
    *("weights_frozen", "inner_resets", "redistribute_rewards", "normalize_advantage"),
)
"""Settings that are flags, without a value."""


META_SETTINGS = {"outer_batch_size", "meta_learning_rate", "meta_learning_rate_final"} | {
    f"meta_{name}" for name in ("interval", "average", "gradient")
}
"""Settings of meta-learning, which other ways of learning Σ do not use."""


def _defaults(name: str) -> str:
    """Default of a learner's argument, for each learner where they differ."""
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
    """Show the learners' own defaults in the command line's help for what is None here."""
    for name, hint in config.__annotations__.items():
        if name not in FLAGS:
            told = tyro.conf.arg(help_behavior_hint=_defaults(name))
            config.__annotations__[name] = Annotated[hint, told]
    return config


@dataclass(frozen=True)
@_telling_defaults
class LearnerConfig:
    """Arguments of the learner; those left out have the learner's own defaults.

    Args:
        learning_rate: Learning rate of the network.
        buffer_size: Decisions kept for replay.
        learning_starts: Decisions before the first update.
        batch_size: Decisions in a batch.
        gamma: Discount of one primitive step.
        train_freq: Decisions between updates, over all environments.
        gradient_steps: Updates each time that training is due.
        n_steps: Decisions in an n-step return; for pairwise-a2c, per environment in a rollout.
        target_update_interval: Decisions between updates of the target network.
        exploration_fraction: Share of the frames over which exploration falls.
        exploration_final_eps: Share of random decisions afterwards.
        max_grad_norm: Norm that gradients are clipped to.
        eta: Weight of the similarity penalty; 0 for none.
        eta_final: Weight of the penalty at the end, reached linearly over the frames.
        meta_learning_rate: Learning rate of the similarity, or of pairwise-a2c's credit weights.
        meta_learning_rate_final: That learning rate at the end, reached linearly over the frames.
        meta_interval: Updates per outer step of the similarity.
        meta_average: Outer steps averaged into one step of the similarity.
        outer_batch_size: Decisions in an outer batch; batch_size by default.
        meta_gradient: Meta-gradient of the similarity: exact, or only the last layer's part.
        penalty_reduction: Whether the penalty is the mean or the sum over actions.
        similarity: Form of the similarity: softmax, softmax_diagonal, sigmoid, unconstrained,
            low_rank, kernel, group_kernel, state; or a control: fixed, uniform, identity, overlap,
            permuted; or a similarity file of any game, which is transferred to the actions. For
            thousands of actions, use low_rank or group_kernel.
        similarity_start: Initial similarity: uniform, overlap, identity, permuted, random, or a
            similarity file of the same actions.
        similarity_frozen: Keep the initial similarity.
        similarity_learning: How the similarity is learned: meta, meta_shared, auxiliary.
        auxiliary_prior: Weight of handcrafted overlap in auxiliary learning; 0.5 is a good value.
        embedding_dim: Length of the similarity's embedding, on which the network is conditioned; 0
            for none.
        embedding: How the similarity is embedded.
        clip_rewards: Clip each step's reward to [-1, 1] for learning; by default for MacroALE and
            MacroRetro only, not for ALE's own ids.
        double_q: Double Q-learning.
        prioritized_replay: Prioritised replay.
        dueling: Use separate streams for values and advantages.
        noisy: Explore by noise in the network.
        distributional: Learn distributions of returns.
        n_atoms: Number of atoms of the distributions of returns.
        v_min: Lowest atom; returns below it are clipped to it.
        v_max: Highest atom.
        noise_scale: Initial scale of the noisy layers' noise.
        replay_on_device: Keep the replay buffer on the network's device, if it fits there.
        cuda_graph: Replay updates as CUDA graphs; needs a GPU.
        overlap_updates: Run updates while the environments step.
        gae_lambda: λ of regular advantages, by which credit weights are judged.
        ent_coef: Weight of the policy's entropy.
        vf_coef: Weight of the value loss.
        normalize_advantage: Normalise the advantages of a rollout to mean 0 and deviation 1.
        advantage: What credit weights sum: pwtd, TD errors; or pwr, rewards.
        weights: Form of the credit weights: table, for numbered states; embedding; or a control:
            geometric, state_lambda, sequence; or a file of weights to start from.
        weights_frozen: Keep the initial credit weights.
        inner_steps: Updates of the policy per update of the credit weights.
        inner_resets: Initialise the policy anew after each update of the credit weights.
        redistribute_rewards: Sum rewards as redistributed by a predictor of returns: a control.
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
        """Check what SB3 would accept and fail on later."""
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
    """Settings of a run.

    Args:
        env: Environment id.
        algorithm: The learner; dqn is MASPDQN without penalty and conditioning, pairwise-a2c is A2C
            with learned credit across time.
        frames: Budget in emulator frames (steps, where there is no emulator).
        k: Number of macros; by default 128 from the game's bank. 0 for primitives only.
        macros: File of a macro set, of this game or another, to use instead of the game's bank; or
            folder of a run whose macros to use.
        macros_unmapped: What to do with macros that need a primitive which the game lacks: raise an
            error, or drop them.
        obs_type: Observations of a game: its screens by default, or the console's memory.
        options: Other arguments of ``gym.make``, names and values in turn, such as screen_size 42.
        n_envs: Number of environments; games with macros are stepped in parallel, others in turn.
        seed: Seed of all random numbers.
        net_arch: Sizes of the hidden layers; SB3's by default.
        threads: Threads of torch, which chooses their number by default.
        device: cpu, cuda or auto.
        similarity_unmapped: What to do if a similarity file cannot be transferred to an action:
            raise an error, or make the action similar to all others, or to those it overlaps with.
        similarity_unfreeze_at: Frames after which a frozen similarity learns.
        run: Folder of the run; by default named after its settings, in runs/.
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
        """Check what would fail later, or have no effect."""
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
        """Arguments of ``gym.make`` besides the id."""
        chosen = {"k": self.k, "macros": self.macros, "obs_type": self.obs_type}
        return self.options | {name: value for name, value in chosen.items() if value is not None}

    @property
    def learner_kwargs(self) -> dict[str, Any]:
        """Arguments of the learner besides policy, environment, seed and device.

        Raises:
            RunError: The learner does not have a setting, or a setting requires another one.
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
    """Read the settings of the run in ``folder``.

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
