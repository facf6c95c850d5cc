"""Everything that is checked of one item before the ledger is asked, in the same order for ``sign`` and ``lint``.

    repository known, and not suspended → JSON → canonical → role and type → specification version → structure →
    role delegated → expiry within the ceiling → every target path belongs to the role → keyid authorised, held and in
    use → caller granted

Items of the publisher in this process come with their facts, and enter at *role delegated*.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wharfinger_daemon.clock import Clock
from wharfinger_daemon.errors import (
    CorruptStateError,
    InvalidRequestError,
    NotGrantedError,
    Reason,
    RefusedError,
    WharfingerError,
)
from wharfinger_daemon.signing import facts as reading
from wharfinger_daemon.signing.delegation import RoleAuthority
from wharfinger_daemon.signing.facts import CanonicalObject, ReadMetadata
from wharfinger_daemon.signing.keys import AuthorisedKey
from wharfinger_daemon.signing.ledger import Reservation
from wharfinger_daemon.signing.model import Caller, MetadataFacts, PreparedItem, RoleType, SigningItem, SigningPolicy
from wharfinger_daemon.signing.standing import KeyState, Moment
from wharfinger_daemon.signing.suspension import require_not_suspended
from wharfinger_daemon.signing.trust import TrustedRepository


@dataclass(frozen=True)
class ExaminedItem:
    """An item that passed, ready for the ledger and the token."""

    reservation: Reservation
    role_type: RoleType
    key: AuthorisedKey
    signed: bytes


class Examiner:
    """Examines items as things stand at one moment."""

    def __init__(self, moment: Moment, policy: SigningPolicy, clock: Clock) -> None:
        self._moment = moment
        self._policy = policy
        self._clock = clock

    def examine(self, item: SigningItem, caller: Caller) -> ExaminedItem:
        """Examines what a caller sent.

        Raises:
            WharfingerError: the first check that fails; its details have ``role`` and ``version`` once they are known.
        """
        repository = self._repository(item.repository)
        document = reading.parse(item.signed)
        role = item.role
        try:
            role = document.role(item.role)
            return self._examine_document(item, document, role, repository, caller)
        except WharfingerError as error:
            error.details.update(role=role, version=str(document.version))
            raise

    def _examine_document(
        self, item: SigningItem, document: CanonicalObject, role: str, repository: TrustedRepository, caller: Caller
    ) -> ExaminedItem:
        metadata = reading.read(document, role, self._policy)
        authority = repository.authority(role)
        self._check_expiry(metadata.facts, authority.role_type)
        _check_targets(metadata, authority)
        _check_named(metadata, repository)
        key = self._key(repository, authority, role, item.keyid)
        _check_grant(caller, repository, role)
        digest = hashlib.sha256(item.signed).digest()
        return self._examined(repository, metadata.facts, authority, key, item.signed, digest)

    def examine_prepared(self, item: PreparedItem) -> ExaminedItem:
        """Examines what the publisher prepared, believing its facts."""
        facts = item.facts
        repository = self._repository(item.repository)
        authority = repository.authority(facts.role)
        self._check_expiry(facts, authority.role_type)
        key = self._key(repository, authority, facts.role, item.keyid)
        return self._examined(repository, facts, authority, key, item.signed, item.digest)

    def key_for(self, repository: str, role: str) -> AuthorisedKey:
        """The key that signs a role where none is named, whether signing is suspended or not.

        Raises:
            RefusedError: there is none at this moment.
            InvalidRequestError: there is no such role, or more than one key.
        """
        trusted = self._moment.repository(repository)
        return self._key(trusted, trusted.authority(role), role, "")

    def verify_prepared(self, item: PreparedItem) -> None:
        """Reads the bytes of a prepared item in full, as if a stranger had sent them.

        Raises:
            CorruptStateError: they do not say what its facts say.
            InvalidRequestError: they would be refused.
        """
        document = reading.parse(item.signed)
        metadata = reading.read(document, document.role(item.facts.role), self._policy)
        if metadata.facts != item.facts or hashlib.sha256(item.signed).digest() != item.digest:
            raise CorruptStateError(
                f"The publisher prepared version {item.facts.version} of '{item.facts.role}', and its bytes say "
                "something else. Nothing was signed. This is an error in the program; please report it.",
                reason=Reason.FACTS_MISMATCH,
                role=item.facts.role,
            )
        repository = self._moment.repository(item.repository)
        _check_targets(metadata, repository.authority(item.facts.role))

    def _check_expiry(self, facts: MetadataFacts, role_type: RoleType) -> None:
        # An upper bound only: what has expired is of no use to an attacker, and must be repeatable.
        ceiling = self._policy.expiry_ceilings.of(role_type, facts.role)
        if facts.expires - self._clock.now() > ceiling:
            raise InvalidRequestError(
                f"'{facts.role}' would expire at {facts.expires.isoformat()}, farther from now than the {ceiling} that "
                "signing.expiry_ceilings allows for it.",
                reason=Reason.EXPIRY_BEYOND_CEILING,
                role=facts.role,
            )

    def _repository(self, name: str) -> TrustedRepository:
        repository = self._moment.repository(name)
        require_not_suspended(self._moment, {repository.epoch.repository})
        return repository

    def _examined(
        self,
        repository: TrustedRepository,
        facts: MetadataFacts,
        authority: RoleAuthority,
        key: AuthorisedKey,
        signed: bytes,
        digest: bytes,
    ) -> ExaminedItem:
        reservation = Reservation(
            repository.epoch,
            facts.role,
            facts.version,
            digest,
            key.keyid,
            facts.meta,
            frozenset(repository.versions),
            self._policy.version_jumps.exceptions(_types(repository, facts, authority)),
        )
        return ExaminedItem(reservation, authority.role_type, key, signed)

    def _key(self, repository: TrustedRepository, authority: RoleAuthority, role: str, keyid: str) -> AuthorisedKey:
        states = self._moment.key_states.get(repository.name, {})
        # A role none of whose keys has a life is not in a key line: there the verified metadata alone decides.
        governed = any(one in states for one in authority.keyids)
        if keyid:
            key = self._named_key(repository, authority, role, keyid)
            if governed and states.get(keyid) not in (KeyState.ACTIVE, KeyState.RETIRING):
                raise _not_active(role, states, authority)
            return key
        held = [key for key in authority.keys.values() if key.der in self._moment.held]
        if not held:
            raise RefusedError(
                f"The token holds none of the keys that may sign '{role}': {', '.join(authority.keyids)}.",
                reason=Reason.KEY_NOT_HELD,
                role=role,
            )
        usable = [key for key in held if states.get(key.keyid) is KeyState.ACTIVE] if governed else held
        if not usable:
            raise _not_active(role, states, authority)
        if len(usable) > 1:
            raise InvalidRequestError(
                f"The token holds {len(usable)} keys that may sign '{role}'. Name one: "
                f"{', '.join(key.keyid for key in usable)}.",
                reason=Reason.KEYID_REQUIRED,
                role=role,
            )
        return usable[0]

    def _named_key(
        self, repository: TrustedRepository, authority: RoleAuthority, role: str, keyid: str
    ) -> AuthorisedKey:
        if keyid not in authority.keyids:
            known = any(keyid in other.keyids for other in repository.authorities())
            raise RefusedError(
                f"The verified metadata does not let the named key sign '{role}'. It lets these: "
                f"{', '.join(authority.keyids)}.",
                reason=Reason.KEY_NOT_AUTHORISED if known else Reason.KEY_UNKNOWN,
                role=role,
            )
        key = authority.keys.get(keyid)
        if key is None or key.der not in self._moment.held:
            raise RefusedError(
                f"Key {keyid} may sign '{role}', but the token does not hold it.",
                reason=Reason.KEY_NOT_HELD,
                role=role,
                keyid=keyid,
            )
        return key


def _not_active(role: str, states: Mapping[str, KeyState], authority: RoleAuthority) -> RefusedError:
    found = ", ".join(f"{keyid} is {states[keyid]}" for keyid in authority.keyids if keyid in states)
    return RefusedError(
        f"No key that may sign '{role}' is in use: {found}. Activate the one that is to sign, or name an active one.",
        reason=Reason.KEY_NOT_ACTIVE,
        role=role,
    )


def _check_targets(metadata: ReadMetadata, authority: RoleAuthority) -> None:
    role = metadata.facts.role
    for path in metadata.target_paths:
        if not authority.delegates(role, path):
            raise InvalidRequestError(
                f"'{role}' lists the target {ascii(path)[:200]}, which its delegation gives to another role.",
                reason=Reason.TARGET_OUTSIDE_BIN,
                role=role,
            )
    if metadata.delegates and authority.role_type is RoleType.BINS:
        # Whoever may sign a bin for a day could otherwise hand its targets to a key of their own.
        raise InvalidRequestError(
            f"'{role}' is a bin, and delegates further. Bins list targets only.",
            reason=Reason.DELEGATION_IN_BIN,
            role=role,
        )


def _check_named(metadata: ReadMetadata, repository: TrustedRepository) -> None:
    """A snapshot names roles that there are, and offline roles as they were verified: what it names once, every later
    snapshot must name, no version lower, so one that names something else would end the repository."""
    if metadata.facts.type != "snapshot":
        return
    for name, version in metadata.facts.meta.items():
        if repository.authority(name).role_type not in (RoleType.TARGETS, RoleType.BINS):
            raise InvalidRequestError(
                f"The snapshot names '{name}', and a snapshot lists targets metadata alone (TUF specification 4.4).",
                reason=Reason.NOT_TUF_METADATA,
                named_role=name,
            )
        verified = repository.versions.get(name, version)
        if version != verified:
            raise RefusedError(
                f"The snapshot names version {version} of '{name}', and version {verified} is the one that was "
                "verified.",
                reason=Reason.META_NOT_VERIFIED,
                named_role=name,
            )


def _check_grant(caller: Caller, repository: TrustedRepository, role: str) -> None:
    if caller.may_sign(repository.name, role):
        return
    known = caller.may_use(repository.name)
    raise NotGrantedError(
        f"Caller '{caller.name}' has no grant to sign '{role}' of repository '{repository.name}'.",
        reason=Reason.ROLE_NOT_GRANTED if known else Reason.REPOSITORY_NOT_GRANTED,
        caller=caller.name,
        role=role,
    )


def _types(
    repository: TrustedRepository, facts: MetadataFacts, authority: RoleAuthority
) -> Iterator[tuple[str, RoleType]]:
    yield facts.role, authority.role_type
    for name in facts.meta:
        yield name, repository.authority(name).role_type
