"""Makes the next version of root, targets or ``bins`` from a plan, on top of the verified chain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from securesystemslib.signer import Key
from tuf.api.metadata import DelegatedRole, Delegations, Role, Root, Targets

from wharfinger_daemon import canonical
from wharfinger_daemon.ceremony.chain import AnyFile, Chain, listed_keys
from wharfinger_daemon.ceremony.keys import same_key
from wharfinger_daemon.ceremony.plan import BinsContent, Kind, NamedKey, Plan, RootContent, Signers, TargetsContent
from wharfinger_daemon.ceremony.quorum import Quorum, quorums, signing_keys
from wharfinger_daemon.ceremony.refusals import invalid
from wharfinger_daemon.ceremony.shape import require_shape

_EVERY_PREFIX = [f"{digit:x}" for digit in range(16)]


@dataclass(frozen=True)
class Draft:
    """The next version, unsigned.

    Attributes:
        content: the canonical JSON of ``signed``: exactly what is signed.
        names: what the ceremony file calls the keys, by keyid.
    """

    kind: Kind
    signed: Root | Targets
    content: bytes
    chain: Chain
    quorums: tuple[Quorum, ...]
    names: Mapping[str, str]


def make_draft(plan: Plan, chain: Chain) -> Draft:
    """Makes the next version.

    Args:
        chain: everything that the repository has signed so far; empty for the first root.

    Raises:
        InvalidRequestError: CEREMONY_INVALID; the version before is not the named one, or says what would get lost, or
            a key has another keyid than the plan says, or is named and of no use.
    """
    previous = _previous(plan, chain)
    keys = {named.name: _known(named, chain) for named in plan.keys}
    version = 1 if previous is None else previous.signed.version + 1
    signed: Root | Targets
    match plan.content:
        case RootContent():
            signed = _root(plan, plan.content, keys, version)
        case TargetsContent():
            signed = _targets(plan, plan.content, keys, version)
        case _:
            signed = _bins(plan, plan.content, keys, version)
    required = quorums(plan.kind, signed, chain)
    _require_useful(plan, keys, [*signing_keys(required), *(() if previous is None else listed_keys(previous.signed))])
    names = {key.keyid: name for name, key in keys.items()}
    if len(names) != len(keys):
        raise invalid("Two names are given to one key. Name each key once.")
    return Draft(plan.kind, signed, canonical.encode(signed.to_dict()), chain, required, names)


def _previous(plan: Plan, chain: Chain) -> AnyFile | None:
    newest = chain.previous(plan.kind)
    if newest is None and plan.previous_sha256 is None:
        return None
    if newest is None:
        raise invalid(f"There is no former version of {plan.kind}, and previous_sha256 names one.")
    if plan.previous_sha256 is None:
        raise invalid(
            f"{newest.name} is there already: this would not be the first version. Give its SHA-256 as previous_sha256."
        )
    if plan.previous_sha256 != newest.sha256:
        raise invalid(
            f"{newest.name} is the newest that is there, with the SHA-256 {newest.sha256}, and previous_sha256 is "
            f"{plan.previous_sha256}. Find out which is the newest that was published."
        )
    require_shape(plan.kind, newest.signed, newest.name)
    return newest


def _known(named: NamedKey, chain: Chain) -> Key:
    """The key as the repository lists it already, or else as given: one key must not get a second keyid."""
    listing = [file.signed for kind in Kind for file in reversed(chain.of(kind))]
    known = (key for signed in listing for key in listed_keys(signed).values())
    key = next((key for key in known if same_key(key, named.key)), named.key)
    if named.keyid not in (None, key.keyid):
        raise invalid(
            f"The keyid of '{named.name}' is {key.keyid}, and the ceremony file says {named.keyid}. Find out which key "
            "it is."
        )
    return key


def _require_useful(plan: Plan, keys: Mapping[str, Key], known: Iterable[str]) -> None:
    used, of_use = plan.used_names(), set(known)
    for name, key in keys.items():
        if name not in used and key.keyid not in of_use:
            raise invalid(
                f"The key '{name}' is in no role, may not sign, and the former version does not list it. Take it out "
                "of the ceremony file, or correct the role that it was meant for."
            )


def _root(plan: Plan, content: RootContent, keys: Mapping[str, Key], version: int) -> Root:
    root = Root(version, expires=plan.expires, consistent_snapshot=content.consistent_snapshot)
    for name, signers in content.roles.items():
        root.roles[name] = Role([], signers.threshold)
        for key in _chosen(signers, keys).values():
            root.add_key(key, name)
    return root


def _targets(plan: Plan, content: TargetsContent, keys: Mapping[str, Key], version: int) -> Targets:
    chosen = _chosen(content.bins, keys)
    # PEP 458 has this role between targets and the bins, so that targets can delegate elsewhere too (PEP 480).
    role = DelegatedRole(
        Kind.BINS.value, list(chosen), content.bins.threshold, terminating=False, path_hash_prefixes=_EVERY_PREFIX
    )
    return Targets(version, expires=plan.expires, delegations=Delegations(chosen, {role.name: role}))


def _bins(plan: Plan, content: BinsContent, keys: Mapping[str, Key], version: int) -> Targets:
    chosen = _chosen(content.online, keys)
    delegation = content.bins.delegation(chosen, content.online.threshold)
    return Targets(version, expires=plan.expires, delegations=delegation.delegations(chosen))


def _chosen(signers: Signers, keys: Mapping[str, Key]) -> dict[str, Key]:
    return {keys[name].keyid: keys[name] for name in signers.names}
