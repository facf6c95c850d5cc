"""What is told of a batch that was not signed, for the log and the metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wharfinger_daemon.errors import InvalidRequestError, Reason, WharfingerError
from wharfinger_daemon.signing.model import PreparedItem, RoleType, SigningItem
from wharfinger_daemon.signing.standing import Moment

_LONGEST_NAME = 255


@dataclass(frozen=True)
class Refusal:
    """A batch was refused, or failed.

    Attributes:
        caller: who asked.
        repository, role, version: of the item that it was refused for, as far as they are known; else empty, or 0.
            What a stranger sent as a name is cut, and may be of any characters.
        role_type: None where no verified metadata knows the role.
    """

    reason: Reason
    caller: str
    repository: str = ""
    role: str = ""
    role_type: RoleType | None = None
    version: int = 0


def refusal_of(
    error: WharfingerError, items: Sequence[SigningItem | PreparedItem], caller: str, moment: Moment
) -> Refusal:
    """What there is to tell of an error that a batch met."""
    index = error.details.get("item")
    if index is None and len(items) != 1:
        return Refusal(error.reason, caller)
    item = items[int(index or 0)]
    sent = item.role if isinstance(item, SigningItem) else item.facts.role
    role = error.details.get("role", sent)
    return Refusal(
        error.reason,
        caller,
        item.repository[:_LONGEST_NAME],
        role[:_LONGEST_NAME],
        _type_of(item.repository, role, moment),
        int(error.details.get("version", "0")),
    )


def _type_of(name: str, role: str, moment: Moment) -> RoleType | None:
    repository = moment.repositories.get(name)
    if repository is None:
        return None
    try:
        return repository.authority(role).role_type
    except InvalidRequestError:
        return None
