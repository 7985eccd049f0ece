"""Train and holdout by patient: each patient's place depends on nobody else."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from privacy.identity import spelled
from synthgen.errors import ConfigError

if TYPE_CHECKING:
    from synthgen.cohort import Cohort

_SHORTEST_KEY = 16


def split(cohort: Cohort, holdout: float, key: bytes) -> tuple[list[str], list[str]]:
    """Ids of (train, holdout), in the order of `patients`.

    A patient is held out when the keyed hash of the id, read as a number in [0, 1), lies below `holdout`: one patient more
    or less moves nobody else, and without the key nobody can tell who was trained on. Sizes are therefore only expected
    to be as declared.

    Raises:
        ConfigError: when `holdout` is not in (0, 1), the key is short, or chance left one side without patients.
    """
    if not 0 < holdout < 1:
        raise ConfigError("holdout: needs a share above 0 and below 1; one half is the default")
    if len(key) < _SHORTEST_KEY:
        raise ConfigError(f"the key of the split needs at least {_SHORTEST_KEY} bytes of randomness")
    train: list[str] = []
    held: list[str] = []
    for patient in cohort.ids:
        (held if _place(patient, key) < holdout else train).append(patient)
    if not train or not held:
        side = "training" if not train else "the holdout"
        raise ConfigError(
            f"holdout: at this share no patient of the cohort falls to {side}; bring it nearer to one half, or add patients"
        )
    return train, held


def _place(patient: str, key: bytes) -> float:
    """HMAC-SHA256 of the id (RFC 2104) as a number in [0, 1)."""
    digest = hmac.new(key, b"synthgen.split\0" + spelled(patient).encode(), hashlib.sha256).digest()
    return (int.from_bytes(digest[:8]) >> 11) * 2.0**-53
