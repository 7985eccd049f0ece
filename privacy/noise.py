"""Randomness that protects patients: a keyed AES-CTR stream whose key comes from the operating system and never leaves.

Both the Gaussian noise and the Poisson samples of patients are drawn here. A seed exists for tests; it marks the run.
"""

from __future__ import annotations

import hashlib
import os

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray
from scipy.special import ndtri

BLOCK = 2**14
"""How many normals are drawn at a time: few enough to stay in a processor's cache."""


class Noise:
    """A stream of secret randomness.

    Args:
        seed: for tests only. A seeded stream can be predicted, so whatever it protects is never releasable.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seeded = seed is not None
        key = os.urandom(32) if seed is None else hashlib.sha256(f"test noise {seed}".encode()).digest()
        self._stream = Cipher(algorithms.AES(key), modes.CTR(b"\0" * 16)).encryptor()

    def uniforms(self, count: int) -> NDArray[np.float64]:
        """[count] numbers in the open interval (0, 1), 52 random bits each."""
        words = np.frombuffer(self._stream.update(bytes(8 * count)), dtype="<u8")
        return ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52

    def gaussians(self, count: int) -> NDArray[np.float64]:
        """[count] standard normals, each half the sum of four: one alone would leak through the gaps between floating-point
        numbers (Holohan and Braghin 2021, section 4)."""
        normals = np.zeros(count)
        for _ in range(4):
            for start in range(0, count, BLOCK):
                part = normals[start : start + BLOCK]
                part += ndtri(self.uniforms(len(part)))
        return normals / 2

    def poisson_sample(self, patients: int, rate: float) -> NDArray[np.int64]:
        """Indices of the patients of one step: each takes part with probability `rate`, independently of all others."""
        if rate >= 1:
            return np.arange(patients)
        return np.flatnonzero(self.uniforms(patients) < rate)
