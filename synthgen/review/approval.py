"""The officer's signature on a release, and how anyone checks it: without this workspace, its database or its server.

A signed release is a folder (or a zip of it) that holds `release/`, as `synthgen.release` wrote it, beside `APPROVAL.json`: a
statement that names the SHA-256 of release/SHA256SUMS, which names every file, and an Ed25519 signature over the statement.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from privacy.chain import canonical
from privacy.errors import ConfigError
from synthgen.hashes import sha256_of
from synthgen.release import BUNDLE, SUMS, verify

APPROVAL = "APPROVAL.json"
WHAT = "synthgen release approval"


def statement_of(bundle: Path, said: Mapping[str, Any]) -> dict[str, Any]:
    """What an officer signs: `said`, and the hash that stands for every file of the bundle."""
    return {"what": WHAT, "sums_sha256": sha256_of(bundle / SUMS), **said}


def to_sign(statement: Mapping[str, Any]) -> bytes:
    """The bytes that the signature is over."""
    return canonical(statement).encode()


def write_zip(bundle: Path, approval: Mapping[str, Any], target: Path) -> None:
    """The signed release as one file; its entries' times are fixed, so that the same release is the same bytes."""
    files = {
        f"{BUNDLE}/{path.relative_to(bundle)}": path.read_bytes()
        for path in sorted(bundle.rglob("*"))
        if path.is_file()
    }
    files[APPROVAL] = (json.dumps(approval, indent=1, sort_keys=True) + "\n").encode()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)


def faults_of(signed: Path, key: str | None = None, now: datetime | None = None) -> list[str]:
    """One sentence for each fault of a signed release, a zip or the folder it unpacks to; none when it is whole and signed.

    Args:
        key: the officer's public key, known from elsewhere. Without one, the signature is checked against the key in the file:
            that shows that nothing changed since somebody signed, not who signed.

    Raises:
        ConfigError: when there is no such file, or it is no signed release.
    """
    with _unpacked(signed) as folder:
        if not (folder / BUNDLE).is_dir() or not (folder / APPROVAL).is_file():
            raise ConfigError(f"{signed}: no signed release; it needs {BUNDLE}/ and {APPROVAL}")
        extra = [p.name for p in folder.iterdir() if p.name not in (BUNDLE, APPROVAL)]
        found = [f"{name} was not there" for name in sorted(extra)]
        return found + verify(folder / BUNDLE) + _of_approval(folder, key, now or datetime.now(UTC))


def read_approval(signed: Path) -> dict[str, Any]:
    """The approval of a signed release, unchecked. Raises ConfigError."""
    with _unpacked(signed) as folder:
        try:
            content: dict[str, Any] = json.loads((folder / APPROVAL).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise ConfigError(f"{signed}: {APPROVAL} is missing or corrupt") from None
        return content


def _of_approval(folder: Path, key: str | None, now: datetime) -> list[str]:
    try:
        approval = json.loads((folder / APPROVAL).read_text(encoding="utf-8"))
        statement, signature = approval["statement"], bytes.fromhex(approval["signature"])
        signer, expires = bytes.fromhex(key or statement["key"]), float(statement["expires_at"])
        sums = statement["sums_sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return [f"{APPROVAL} is corrupt"]
    said = []
    if statement.get("what") != WHAT or not _signed(signer, signature, statement):
        said.append(f"{APPROVAL} is not signed with {'the key given' if key else 'its key'}")
    if not (folder / BUNDLE / SUMS).is_file() or sha256_of(folder / BUNDLE / SUMS) != sums:
        said.append(f"{SUMS} is not the one that was signed")
    if now.timestamp() > expires:
        said.append(f"the approval expired on {datetime.fromtimestamp(expires, UTC):%Y-%m-%d}")
    return said


def _signed(signer: bytes, signature: bytes, statement: Mapping[str, Any]) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(signer).verify(signature, to_sign(statement))
    except (InvalidSignature, ValueError):
        return False
    return True


@contextmanager
def _unpacked(signed: Path) -> Iterator[Path]:
    if signed.is_dir():
        yield signed
        return
    if not zipfile.is_zipfile(signed):
        raise ConfigError(f"{signed}: neither a folder nor a zip file")
    with tempfile.TemporaryDirectory() as aside, zipfile.ZipFile(signed) as archive:
        names = archive.namelist()
        if len(names) != len(set(names)) or any(n.startswith("/") or ".." in Path(n).parts for n in names):
            raise ConfigError(f"{signed}: its names repeat or climb out of the archive; it was not unpacked")
        archive.extractall(aside)
        yield Path(aside)
