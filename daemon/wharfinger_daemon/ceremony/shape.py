"""What root, targets and ``bins`` say, here: nothing that a ceremony could not say again.

Other tools make metadata that says more. A next version from a ceremony file would silently drop it, so it is refused.
"""

from __future__ import annotations

from tuf.api.metadata import Delegations, Root, Targets

from wharfinger_daemon.bin_delegation import DelegationForm, even_bin_delegation, read_bin_delegation
from wharfinger_daemon.ceremony.plan import Kind
from wharfinger_daemon.ceremony.refusals import invalid
from wharfinger_daemon.errors import StartupError
from wharfinger_daemon.metadata.bins import HashBins


def require_shape(kind: Kind, signed: Root | Targets, name: str) -> None:
    """Refuses metadata that a ceremony file cannot describe.

    Args:
        name: the file, for messages.

    Raises:
        InvalidRequestError: CEREMONY_INVALID.
    """
    if isinstance(signed, Root):
        strange = _unknown(signed, *signed.roles.values())
    elif kind is Kind.TARGETS:
        strange = _strange_targets(signed)
    else:
        strange = _strange_bins(signed)
    if strange:
        raise invalid(f"{name} {strange}, which no ceremony here can say again.", file=name)


def bins_in_words(signed: Root | Targets) -> str:
    """The hash bins that metadata delegates to; empty if there are none."""
    bins = None if isinstance(signed, Root) else even_bin_delegation(signed.delegations)
    if bins is None:
        return ""
    how = "" if bins.form is DelegationForm.SUCCINCT else f", each with its {bins.form}"
    return f"{1 << bins.bit_length} hash bins called {bins.prefix}-*{how}"


def _strange_targets(targets: Targets) -> str:
    if targets.targets:
        return f"lists {len(targets.targets)} targets itself"
    if targets.delegations is None:
        return "delegates to nobody"
    if targets.delegations.succinct_roles is not None:
        return "delegates to the hash bins itself, without the role bins in between"
    others = [name for name in targets.delegations.roles or {} if name != Kind.BINS]
    if others:
        return f"delegates to {', '.join(map(ascii, others))}"
    return _unknown_in_delegations(targets, targets.delegations)


def _strange_bins(bins: Targets) -> str:
    if bins.targets:
        return f"lists {len(bins.targets)} targets itself"
    try:
        delegation = read_bin_delegation(bins.delegations)
    except ValueError as error:
        return f"delegates to uneven hash bins ({error})"
    if bins.delegations is None or delegation is None:
        return "does not delegate to hash bins"
    try:
        HashBins.delegated(delegation)
    except StartupError:
        return f"delegates to 2^{delegation.bit_length} bins called {delegation.prefix!a}"
    return _unknown_in_delegations(bins, bins.delegations)


def _unknown_in_delegations(signed: Targets, delegations: Delegations) -> str:
    roles = (delegations.roles or {}).values()
    succinct = [] if delegations.succinct_roles is None else [delegations.succinct_roles]
    return _unknown(signed, delegations, *roles, *succinct)


def _unknown(*parts: object) -> str:
    fields = [field for part in parts for field in getattr(part, "unrecognized_fields", {})]
    return f"has the fields {', '.join(map(ascii, fields))}" if fields else ""
