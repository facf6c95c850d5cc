"""From what each step of the path says of an item to what ``lint`` answers."""

from __future__ import annotations

from wharfinger_daemon.errors import WharfingerError
from wharfinger_daemon.signing.examination import ExaminedItem, Examiner
from wharfinger_daemon.signing.model import Caller, LintResult, SigningItem
from wharfinger_daemon.signing.rates import Asking, RoleOfRepository


def asked_role(item: SigningItem, examined: ExaminedItem) -> RoleOfRepository:
    """The repository and role of an item that was examined, which may have left the role open."""
    return item.repository, examined.reservation.role


def lint_one(examiner: Examiner, item: SigningItem, caller: Caller) -> ExaminedItem | LintResult:
    """What the examination says: the item, or the answer if it is refused."""
    try:
        return examiner.examine(item, caller)
    except WharfingerError as error:
        return LintResult(
            reason=error.reason,
            message=error.message,
            role=error.details.get("role", item.role),
            version=int(error.details.get("version", "0")),
        )


def lint_rate(asking: Asking, item: SigningItem, linted: ExaminedItem | LintResult) -> ExaminedItem | LintResult:
    """What the caller's rates say of an item that passed so far."""
    if isinstance(linted, LintResult):
        return linted
    refusal = asking.refusal(asked_role(item, linted))
    return linted if refusal is None else _refused(linted, refusal)


def linted_by_ledger(item: ExaminedItem, answer: bytes | WharfingerError | None) -> LintResult:
    """The answer for an item that passed all but the ledger."""
    if isinstance(answer, WharfingerError):
        return _refused(item, answer)
    reserved = item.reservation
    return LintResult(
        keyid=item.key.keyid, role=reserved.role, version=reserved.version, already_signed=answer is not None
    )


def _refused(item: ExaminedItem, error: WharfingerError) -> LintResult:
    reserved = item.reservation
    return LintResult(reason=error.reason, message=error.message, role=reserved.role, version=reserved.version)
