"""Every error the framework raises on purpose.

SynthgenError            something a person can mend; the message names the place and the fix, never a value
├── ConfigError          a job, dictionary or setting that cannot be used
├── DataError            tables that breach their dictionary (all breaches at once)
├── PrivacyError         something the rules of privacy forbid
│   ├── BudgetExceeded   the ledger has too little left
│   ├── Unaccounted      a question that no charge covers
│   └── NotReleasable    the release gate refuses, with its reasons
└── WorkspaceError       a run, checkpoint or ledger that is missing, corrupt or cannot be written
"""


class SynthgenError(Exception):
    """Root of the tree. The command line prints it as one message and exits with 2."""


class ConfigError(SynthgenError):
    """A job, dictionary or setting that cannot be used."""


class DataError(SynthgenError):
    """Tables that breach their dictionary. `breaches` lists all of them, one sentence each."""

    def __init__(self, breaches: list[str] | str) -> None:
        self.breaches = [breaches] if isinstance(breaches, str) else list(breaches)
        super().__init__("\n".join(self.breaches))


class PrivacyError(SynthgenError):
    """Something the rules of privacy forbid."""


class BudgetExceeded(PrivacyError):
    """The ledger has too little left for this plan."""


class Unaccounted(PrivacyError):
    """A question to the patients that no charge of the plan covers."""


class NotReleasable(PrivacyError):
    """The release gate refuses. `reasons` lists why, one sentence each."""

    def __init__(self, reasons: list[str]) -> None:
        self.reasons = list(reasons)
        super().__init__("\n".join(self.reasons))


class WorkspaceError(SynthgenError):
    """A run, checkpoint or ledger that is missing, corrupt or cannot be written."""
