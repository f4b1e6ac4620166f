"""The error tree.

A user's mistake is an `InputError` (exit code 2): its message is one paragraph that names the file, column or key,
what was found, what was expected and what to do. Anything else that flowguard foresees is a plain `FlowguardError`
(exit code 1). Neither is ever shown with a traceback.
"""

from __future__ import annotations


class FlowguardError(Exception):
    """Something failed that is not the caller's input (exit code 1)."""

    exit_code = 1


class InputError(FlowguardError, ValueError):
    """The input is wrong: a path, a file, a column, a key, a level (exit code 2)."""

    exit_code = 2


class SettingsError(InputError):
    """A setting cannot be read or is not what it must be."""


class PipelineError(InputError):
    """A pipeline file cannot be read or does not say what it must."""


class SourceError(InputError):
    """Data is missing, is not Parquet, is damaged or is empty."""


class SchemaError(InputError):
    """A column is missing or has another type than the pipeline or the version expects."""


class CalibrationError(InputError):
    """A level was asked for that the calibration records cannot support."""


class RegistryError(InputError):
    """A model, version or alias is not in the registry."""


class GateError(InputError):
    """A version whose gate failed was to be promoted without a word on that."""


class BundleError(FlowguardError):
    """A bundle is damaged, incomplete or was changed after it was sealed."""


class TrainingError(FlowguardError):
    """Training could not produce a usable density."""


class StoreError(FlowguardError):
    """The store of what is remembered between runs cannot be used, or holds something else than was expected."""


class OvertakenError(StoreError):
    """Somebody else changed it first: what was asked for started from a state that is no more."""
