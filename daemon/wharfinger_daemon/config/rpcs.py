"""The RPCs that a configuration may grant: those of the contract, and no misspelt ones."""

from __future__ import annotations

import difflib

from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor

from wharfinger.audit.v1 import audit_pb2
from wharfinger.keys.v1 import keys_pb2
from wharfinger.metadata.v1 import metadata_pb2
from wharfinger.scan.v1 import scan_pb2
from wharfinger.signing.v1 import signing_pb2

_CONTRACT: tuple[FileDescriptor, ...] = (
    signing_pb2.DESCRIPTOR,
    keys_pb2.DESCRIPTOR,
    audit_pb2.DESCRIPTOR,
    metadata_pb2.DESCRIPTOR,
    scan_pb2.DESCRIPTOR,
)
_SERVICES: dict[str, ServiceDescriptor] = {
    service.full_name: service for file in _CONTRACT for service in file.services_by_name.values()
}


def require_known_rpc(pattern: str) -> str:
    """``package.Service/Method`` or ``package.Service/*`` as it stands, if the contract has such an RPC.

    A grant that names none grants nothing, in silence, and whoever wrote it learns of it when a caller is refused.

    Raises:
        ValueError: it has none; says which is meant, if one is near.
    """
    service, _, method = pattern.partition("/")
    known = _SERVICES.get(service)
    if known is None:
        raise ValueError(f"there is no service '{service}'{_near(service, list(_SERVICES))}")
    methods = list(known.methods_by_name)
    if method != "*" and method not in methods:
        raise ValueError(f"{service} has no RPC '{method}'{_near(method, methods)}")
    return pattern


def _near(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean '{close[0]}'?" if close else f". It has: {', '.join(known)}"
