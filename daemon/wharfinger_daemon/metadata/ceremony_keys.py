"""Private keys of a development ceremony, one PEM file each, unencrypted."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner

from wharfinger_daemon.errors import Reason, StartupError


def keep_keys(directory: Path, role: str, number: int) -> list[CryptoSigner]:
    """The keys ``ROLE-1.pem``, ``ROLE-2.pem``, …: ECDSA P-256, made if they are missing, never overwritten.

    Raises:
        StartupError: REPOSITORY_INVALID; a file cannot be written, or is no such key.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return [_keep_key(directory / f"{role}-{index}.pem") for index in range(1, number + 1)]
    except OSError as error:
        raise StartupError(
            f"The keys of the ceremony cannot be kept in {directory}: {error.strerror or error}.",
            reason=Reason.REPOSITORY_INVALID,
        ) from error


def _keep_key(path: Path) -> CryptoSigner:
    if not path.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        _write(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    try:
        loaded = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise _no_key(path) from error
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        raise _no_key(path)
    return CryptoSigner(loaded)


def _write(path: Path, content: bytes) -> None:
    # Under its own name the key is whole or absent, and link never overwrites.
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}.unfinished")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(unfinished)
    finally:
        with contextlib.suppress(FileNotFoundError):
            unfinished.unlink()


def _no_key(path: Path) -> StartupError:
    return StartupError(
        f"{path} holds no ECDSA private key in unencrypted PEM. If no repository depends on it, remove it and run the "
        "ceremony again.",
        reason=Reason.REPOSITORY_INVALID,
    )
