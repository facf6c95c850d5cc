"""The values of the audit log, and the arithmetic of its proofs (RFC 6962; RFC 9162, section 2.1.3.2).

A proof leads to the root hash in its checkpoint. That the checkpoint's *signature* is the log's is not checked here,
because the light client has no cryptography: keep checkpoints, and give them to ``wharfinger audit verify``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from wharfinger_client.errors import ServerError


@dataclass(frozen=True)
class Checkpoint:
    """What the log vouches for: its first ``size`` leaves have this root hash.

    Attributes:
        note: the signed note (C2SP tlog-checkpoint), to be kept as it is.
    """

    origin: str
    size: int
    root: bytes
    note: bytes

    @classmethod
    def read(cls, note: bytes) -> Checkpoint:
        """Reads a signed note; its signature is not checked.

        Raises:
            ServerError: it is none.
        """
        try:
            origin, size, root, *_ = note.decode("utf-8").split("\n")
            return cls(origin, int(size), base64.b64decode(root, validate=True), note)
        except (ValueError, binascii.Error) as error:
            raise ServerError(f"The server sent a checkpoint that is none: {error}.") from error


@dataclass(frozen=True)
class InclusionProof:
    """The proof that a leaf is in the tree of a checkpoint.

    Attributes:
        leaf: its data, canonical JSON.
        hashes: of its siblings, from the leaf up.
    """

    leaf_index: int
    leaf: bytes
    hashes: tuple[bytes, ...]
    checkpoint: Checkpoint

    def verify(self, leaf_hash: bytes) -> None:
        """Checks the proof for a leaf that is known by its hash, as a signature's ``leaf_hash`` tells it.

        Raises:
            ServerError: it proves something else, or nothing.
        """
        if hashlib.sha256(b"\x00" + self.leaf).digest() != leaf_hash:
            raise ServerError(f"The leaf {self.leaf_index} that the server sent is not the one that was promised.")
        if self._root(leaf_hash) != self.checkpoint.root:
            raise ServerError(f"The proof does not lead from leaf {self.leaf_index} to the root of its checkpoint.")

    def _root(self, value: bytes) -> bytes | None:
        node, last = self.leaf_index, self.checkpoint.size - 1
        if not 0 <= node <= last:
            return None
        for sibling in self.hashes:
            if last == 0:
                return None
            if node & 1 or node == last:
                value = _above(sibling, value)
                while not node & 1 and node:
                    node, last = node >> 1, last >> 1
            else:
                value = _above(value, sibling)
            node, last = node >> 1, last >> 1
        return value if last == 0 else None


def _above(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
