"""Errors of both packages: each derives from one base and from the built-in that fits."""


class MacroGymError(Exception):
    """Base of every error that ``macro_gym`` and ``sb3_masp`` raise on purpose."""


class InvalidMacroError(MacroGymError, ValueError):
    """A macro set whose names, macros or counts do not describe a set of actions."""


class MacroSetFileError(MacroGymError, ValueError):
    """A macro-set file that is cut short, edited, or of another schema version."""


class RemapError(MacroGymError, ValueError):
    """A macro set that needs a primitive missing from the other action set."""


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
    """A saved environment that could not be restored to its saved state."""


class EnvironmentSettingError(MacroGymError, ValueError):
    """An environment setting that is out of range."""


class MissingDependencyError(MacroGymError, ImportError):
    """An optional package that is needed but not installed."""


class ArgumentTypeError(MacroGymError, TypeError):
    """An argument of the wrong type."""


class MissingFileError(MacroGymError, FileNotFoundError):
    """A file that is named but does not exist."""


class OutputError(MacroGymError, OSError):
    """A result that cannot be written to where it is to go."""


class CheckpointError(MacroGymError, ValueError):
    """A learner that a checkpoint could not restore exactly."""


class LearnerSettingError(MacroGymError, ValueError):
    """A learner setting that is out of range."""


class VectorEnvError(MacroGymError, RuntimeError):
    """A vector environment that lost a process, is used out of turn or lacks a feature needed."""


class EnvironmentAccessError(MacroGymError, AttributeError):
    """Access to single environments that their vector environment does not provide."""


class MissingRomError(MacroGymError, FileNotFoundError):
    """A known game whose ROM is missing."""


class EmulatorInUseError(MacroGymError, RuntimeError):
    """A second game in a process whose emulator can run only one."""


class EnvironmentClosedError(MacroGymError, RuntimeError):
    """An environment that is used after being closed."""
