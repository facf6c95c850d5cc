"""Who calls, and what they may: the certificate's subject alternative names mapped to grants. Default deny."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from wharfinger_daemon.errors import NotGrantedError, Reason, UnauthenticatedError
from wharfinger_daemon.signing.model import Caller, Rate, SigningGrant

# Any caller that is known may ask whether the daemon is well and what it serves.
_FOR_EVERY_CALLER = ("grpc.health.v1.Health/", "grpc.reflection.v1alpha.ServerReflection/")


@dataclass(frozen=True)
class Grants:
    """What one caller may do.

    Attributes:
        rpcs: ``package.Service/Method`` or ``package.Service/*``.
        repositories, roles: what it may have signed, without a rate of its own.
        signing: what else it may have signed.
        rate: how fast it may have anything signed.
    """

    name: str
    san: str
    rpcs: tuple[str, ...]
    repositories: tuple[str, ...]
    roles: tuple[str, ...]
    signing: tuple[SigningGrant, ...] = ()
    rate: Rate | None = None

    def for_signing(self) -> Caller:
        """The caller as the signing domain knows it."""
        return Caller(self.name, (SigningGrant(self.repositories, self.roles), *self.signing), self.rate)


class CallerDirectory:
    """Knows the callers."""

    def __init__(self, callers: Iterable[Grants]) -> None:
        self._by_san = {caller.san: caller for caller in callers}

    def admit(self, authentication: Mapping[str, Iterable[bytes]], method: str) -> Grants:
        """The grants of the caller that a verified certificate names, if they allow the method.

        Args:
            authentication: gRPC's ``auth_context``; present only after TLS has verified the certificate.
            method: such as ``wharfinger.signing.v1.SigningService/Sign``.

        Raises:
            UnauthenticatedError: there is no certificate.
            NotGrantedError: nobody of that name is configured, or the grants do not allow the method.
        """
        names = [
            name.decode("utf-8", errors="replace") for name in authentication.get("x509_subject_alternative_name", ())
        ]
        if not names:
            raise UnauthenticatedError(
                "This call has no client certificate with a subject alternative name. Present one.",
                reason=Reason.CLIENT_CERTIFICATE_REQUIRED,
            )
        caller = self._known(names)
        if not self._allows(caller.rpcs, method):
            raise NotGrantedError(
                f"Caller '{caller.name}' has no grant for {method}. An administrator can add it to rpcs in "
                "the configuration.",
                reason=Reason.RPC_NOT_GRANTED,
                caller=caller.name,
                method=method,
            )
        return caller

    def _known(self, names: Sequence[str]) -> Grants:
        for name in names:
            if name in self._by_san:
                return self._by_san[name]
        raise NotGrantedError(
            f"The certificate names {', '.join(names)}, and no caller in the configuration has such a san.",
            reason=Reason.CALLER_UNKNOWN,
        )

    @staticmethod
    def _allows(patterns: Sequence[str], method: str) -> bool:
        return method.startswith(_FOR_EVERY_CALLER) or any(fnmatchcase(method, pattern) for pattern in patterns)


def require_repository(grants: Grants, repository: str) -> None:
    """Refuses a caller whose grants do not name the repository.

    Raises:
        NotGrantedError: they do not.
    """
    if not grants.for_signing().may_use(repository):
        raise NotGrantedError(
            f"Caller '{grants.name}' has no grant for repository '{repository}'.",
            reason=Reason.REPOSITORY_NOT_GRANTED,
            caller=grants.name,
            repository=repository,
        )
