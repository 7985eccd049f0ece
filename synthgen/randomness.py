"""Named children of the job's seed: all randomness that protects nobody (noise and patient samples are `privacy.noise`)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def child_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for one purpose: the same names give the same seed, other names an unrelated one."""
    digest = hashlib.sha256(repr((seed, *names)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """NumPy's generator for one purpose."""
    import numpy as np

    return np.random.default_rng(child_seed(seed, *names))
