"""Whether records and store belong together."""

from __future__ import annotations

from collections.abc import Mapping

from wharfinger_daemon.errors import Reason, StartupError
from wharfinger_daemon.metadata.bins import HashBins
from wharfinger_daemon.metadata.documents import RoleState
from wharfinger_daemon.metadata.planning import Publication


def require_same_history(newest: Publication | None, last_shown: int, shown: int) -> None:
    """Refuses a store that does not show the newest publication, or, if that was interrupted, the one before it.

    Args:
        shown: the version of the timestamp in the store; 0 if there is none.

    Raises:
        StartupError: RECORDS_BEHIND or REPOSITORY_INVALID, with what to do.
    """
    recorded = 0 if newest is None else newest.timestamp_version
    interrupted = newest is not None and not newest.published
    if shown == recorded or (interrupted and shown == last_shown):
        return
    if shown > recorded:
        raise StartupError(
            f"The metadata store shows version {shown} of 'timestamp', and the database ends at {recorded}: it is "
            "an old copy, or belongs to another repository. Restore the newest; do not delete the published metadata.",
            reason=Reason.RECORDS_BEHIND,
        )
    raise StartupError(
        f"The database says that version {recorded} of 'timestamp' was published, and the metadata store shows "
        f"{f'version {shown}' if shown else 'none'}. Bring the newest metadata back, or configure the store that "
        "belongs to this database.",
        reason=Reason.REPOSITORY_INVALID,
    )


def lacks_bins(bins: HashBins, states: Mapping[str, RoleState]) -> bool:
    """Whether records of fewer bins are there, as while bins grow."""
    return 0 < len(_recorded(bins, states)) < bins.number


def require_same_bins(bins: HashBins, states: Mapping[str, RoleState], *, growing: bool) -> None:
    """Refuses records of other bins.

    Args:
        growing: offline metadata that may lead to more bins was accepted, and is not before clients yet.

    Raises:
        StartupError: REPOSITORY_INVALID.
    """
    present, wanted = _recorded(bins, states), set(bins.roles())
    if present and not (present == wanted or (growing and present < wanted)):
        raise StartupError(
            f"The offline metadata delegates to {bins.number} bins, and the database has {len(present)}. Bins grow "
            "only by an import. Bring the offline metadata back that this database belongs to.",
            reason=Reason.REPOSITORY_INVALID,
        )


def _recorded(bins: HashBins, states: Mapping[str, RoleState]) -> set[str]:
    return {role for role in states if role.startswith(f"{bins.prefix}-")}
