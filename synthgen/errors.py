"""The exception tree (drawn in `privacy.errors`, the ground floor, so that every floor can raise it)."""

from privacy.errors import (
    BudgetExceeded,
    ConfigError,
    DataError,
    NotReleasable,
    PrivacyError,
    SynthgenError,
    Unaccounted,
    WorkspaceError,
)

__all__ = [
    "BudgetExceeded",
    "ConfigError",
    "DataError",
    "NotReleasable",
    "PrivacyError",
    "SynthgenError",
    "Unaccounted",
    "WorkspaceError",
]
