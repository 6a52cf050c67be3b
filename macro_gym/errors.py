"""Errors of both packages: one base, and beside it the built-in that fits."""


class MacroGymError(Exception):
    """Base of every error that ``macro_gym`` and ``sb3_masp`` raise on purpose."""


class InvalidMacroError(MacroGymError, ValueError):
    """A macro set whose names, macros or counts do not describe a set of actions."""


class MacroSetFileError(MacroGymError, ValueError):
    """A macro-set file that is cut short, edited, or of another schema version."""


class RemapError(MacroGymError, ValueError):
    """A macro set that needs a primitive which the other action set lacks."""


class MissingBankError(MacroGymError, LookupError):
    """A game for which no macro set is shipped."""


class FrameSkipError(MacroGymError, ValueError):
    """Frame skipping that would be applied twice, or that cannot be applied."""


class DemonstrationError(MacroGymError, ValueError):
    """Recorded play that is malformed or does not match what it is used for."""


class ReplayBufferError(MacroGymError, ValueError):
    """Replay settings out of range, or decisions whose ``info`` contradicts their reward."""


class MacroSetMismatchError(MacroGymError, ValueError):
    """A model and an environment whose action indices mean different things."""


class UnknownGameError(MacroGymError, LookupError):
    """A game that the emulator does not have."""


class ActionSpaceError(MacroGymError, ValueError):
    """An environment whose actions do not fit a macro set, or an action that it lacks."""


class RestoreError(MacroGymError, RuntimeError):
    """A saved environment that could not be brought back to the state that was saved."""


class EnvironmentSettingError(MacroGymError, ValueError):
    """An environment's setting that is out of range."""


class MissingDependencyError(MacroGymError, ImportError):
    """An optional package that is needed but not installed."""


class ArgumentTypeError(MacroGymError, TypeError):
    """An argument of another type than is needed."""


class MissingFileError(MacroGymError, FileNotFoundError):
    """A file that is named but not there."""


class CheckpointError(MacroGymError, ValueError):
    """A learner that a checkpoint could not bring back as it is."""


class LearnerSettingError(MacroGymError, ValueError):
    """A setting of a learner that is out of range."""


class VectorEnvError(MacroGymError, RuntimeError):
    """A vector environment that lost a process, is used out of turn or cannot do what is needed."""


class EnvironmentAccessError(MacroGymError, AttributeError):
    """Something asked of single environments that their vector environment does not pass on."""


class MissingRomError(MacroGymError, FileNotFoundError):
    """A game that is known, but whose ROM is not there."""


class EmulatorInUseError(MacroGymError, RuntimeError):
    """A second game in a process whose emulator can run only one."""


class EnvironmentClosedError(MacroGymError, RuntimeError):
    """An environment that is used after it was closed."""
