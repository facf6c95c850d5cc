"""The log's own key, in the token: signs checkpoints and nothing else."""

from __future__ import annotations

from wharfinger_daemon.signing.keys import TokenKeys, TokenRequest


class LogSigner:
    """``audit.ports.CheckpointSigner`` on the token. ``public_key`` is a DER SubjectPublicKeyInfo."""

    def __init__(self, keys: TokenKeys, public_key: bytes, timeout_seconds: float) -> None:
        self._keys = keys
        self._public_key = public_key
        self._timeout_seconds = timeout_seconds

    async def sign(self, message: bytes, digest: bytes | None) -> bytes:
        """One signature, verified."""
        request = TokenRequest(self._public_key, message, digest)
        (signature,) = await self._keys.sign([request], timeout_seconds=self._timeout_seconds)
        return signature
