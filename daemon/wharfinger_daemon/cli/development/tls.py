"""Certificates for a development home: one authority, the server and three callers."""

from __future__ import annotations

import shutil
from pathlib import Path

import trustme

SERVER_NAMES = ("localhost", "127.0.0.1", "::1")
CALLERS = ("warehouse", "security", "moderator")


def create_certificates(directory: Path) -> None:
    """Writes ``ca.crt`` and ``NAME.crt`` with ``NAME.key`` for ``server`` and each caller. All of it, or nothing."""
    unfinished = directory.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700, parents=True)
    authority = trustme.CA(organization_name="wharfinger development")
    authority.cert_pem.write_to_path(unfinished / "ca.crt")
    _write(authority.issue_cert(*SERVER_NAMES, common_name="server"), unfinished, "server")
    for caller in CALLERS:
        _write(authority.issue_cert(caller, common_name=caller), unfinished, caller)
    unfinished.rename(directory)


def _write(certificate: trustme.LeafCert, directory: Path, name: str) -> None:
    chain = b"".join(part.bytes() for part in certificate.cert_chain_pems)
    (directory / f"{name}.crt").write_bytes(chain)
    key = directory / f"{name}.key"
    key.touch(mode=0o600)
    certificate.private_key_pem.write_to_path(key)
