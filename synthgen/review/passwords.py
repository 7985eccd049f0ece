"""Passwords are kept as Argon2id hashes; an officer's signing key is sealed with the officer's password."""

from __future__ import annotations

import functools
import os
import threading
from typing import TYPE_CHECKING

from privacy.errors import ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from pwdlib import PasswordHash

SHORTEST, LONGEST = 12, 200
_AT_ONCE = threading.Semaphore(2)
"""Each hash takes 64 MB: many sign-ins at once wait for each other rather than fill the memory."""


def hashed(password: str) -> str:
    """The Argon2id hash to store. Raises ConfigError for a password that is too short or absurdly long."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise ConfigError(f"a password needs {SHORTEST} to {LONGEST} characters; several words in a row are a good one")
    with _AT_ONCE:
        return _argon2().hash(password)


def matches(password: str, stored: str | None) -> bool:
    """Whether it is the password. Takes as long for somebody who does not exist (`stored` is None)."""
    with _AT_ONCE:
        right = _argon2().verify(password[: LONGEST + 1], stored or _nobody())
    return right and stored is not None


def new_signing_key(password: str) -> tuple[str, str]:
    """(public key in hex, sealed private key) of a new Ed25519 pair."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    return key.public_key().public_bytes_raw().hex(), _seal(key.private_bytes_raw(), password)


def resealed(sealed: str, old: str, new: str) -> str:
    """The same signing key under a new password."""
    return _seal(_open(sealed, old), new)


def sign(message: bytes, sealed: str, password: str) -> str:
    """The Ed25519 signature in hex: impossible without the password, whoever holds the database."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(_open(sealed, password)).sign(message).hex()


def _seal(secret: bytes, password: str) -> str:
    salt, nonce = os.urandom(16), os.urandom(12)
    return (salt + nonce + _cipher(password, salt).encrypt(nonce, secret, b"signing key")).hex()


def _open(sealed: str, password: str) -> bytes:
    raw = bytes.fromhex(sealed)
    return _cipher(password, raw[:16]).decrypt(raw[16:28], raw[28:], b"signing key")


def _cipher(password: str, salt: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    with _AT_ONCE:
        return AESGCM(Scrypt(salt=salt, length=32, n=2**15, r=8, p=1).derive(password.encode()))


@functools.cache
def _argon2() -> PasswordHash:
    from pwdlib import PasswordHash

    return PasswordHash.recommended()


@functools.cache
def _nobody() -> str:
    return _argon2().hash("nobody has this password")
