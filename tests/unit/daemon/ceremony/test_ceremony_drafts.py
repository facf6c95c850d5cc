"""The next version: what it says, and which rules it keeps."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from securesystemslib.signer import Key
from tuf.api.metadata import DelegatedRole, Root, SuccinctRoles, TargetFile, Targets

from tests.unit.daemon.ceremony.family import BINS, NOW, ONLINE, ROOT, TARGETS, Family
from wharfinger_daemon import canonical
from wharfinger_daemon.bin_delegation import DelegationForm
from wharfinger_daemon.ceremony.chain import Chain
from wharfinger_daemon.ceremony.changes import called, describe
from wharfinger_daemon.ceremony.draft import Draft
from wharfinger_daemon.ceremony.plan import BinsContent, Kind, NamedKey, Plan, Signers
from wharfinger_daemon.ceremony.quorum import quorums
from wharfinger_daemon.ceremony.rules import require_signable, require_sound
from wharfinger_daemon.ceremony.shape import require_shape
from wharfinger_daemon.ceremony.warnings import warnings
from wharfinger_daemon.errors import InvalidRequestError, Reason, RefusedError
from wharfinger_daemon.metadata.bins import HashBins


def check(draft: Draft) -> None:
    require_sound(draft.kind, draft.signed, draft.chain)
    require_signable(draft.kind, draft.signed, draft.chain, draft.quorums, NOW)


def refuses(family: Family, plan: Plan, told: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check(family.draft(plan))
    assert told in caught.value.message
    assert Reason.CEREMONY_INVALID == caught.value.reason


def words(draft: Draft) -> list[str]:
    return describe(draft.kind, draft.signed, draft.chain, draft.names)


# ---- What it says ----------------------------------------------------------------------------------------------------
def test_first_versions_say_what_the_plan_says(family: Family) -> None:
    family.files = {}
    draft = family.draft(family.root_plan())
    check(draft)
    assert canonical.encode(draft.signed.to_dict()) == draft.content
    assert [("root 1", 2, 3)] == [(one.by, one.threshold, len(one.keys)) for one in draft.quorums]
    assert isinstance(draft.signed, Root)
    assert [2, 2, 1, 1] == [draft.signed.roles[name].threshold for name in ("root", "targets", "snapshot", "timestamp")]
    assert {family.keyid(name): name for name in (*ROOT, *TARGETS, "online")} == draft.names
    assert "This is the first version. It expires at 2031-01-01 00:00:00 UTC." == words(draft)[0]
    assert "consistent_snapshot is true." == words(draft)[-1]
    assert [] == warnings(draft.kind, draft.signed, draft.chain, NOW)


def test_next_versions_are_authorised_by_the_newest_metadata(family: Family) -> None:
    family.hold(family.root_plan(), "alice", "bob")
    found = {}
    for plan in (family.root_plan(), family.targets_plan(), family.bins_plan()):
        draft = family.draft(plan)
        check(draft)
        found[draft.kind] = [one.by for one in draft.quorums], draft.signed.version
    assert {
        Kind.ROOT: (["root 2", "root 3"], 3),
        Kind.TARGETS: (["root 2"], 2),
        Kind.BINS: (["targets 1"], 2),
    } == found


def test_key_keeps_the_keyid_that_the_repository_gave_it(family: Family) -> None:
    """The former metadata was made by another tool: the same key must not get a second keyid."""
    family.files = {}
    family.add_under_keyid("alice", "a" * 64)
    family.hold(family.root_plan(), "alice", "bob")
    family.add_under_keyid("alice", "b" * 64, like="alice")
    draft = family.draft(family.root_plan())
    assert "alice" == draft.names["a" * 64]
    plan = family.root_plan()
    keys = tuple(NamedKey(one.name, one.key, "b" * 64 if one.name == "alice" else None) for one in plan.keys)
    refuses(family, family.root_plan(keys=keys), "The keyid of 'alice' is aaaa")


def test_version_before_must_be_the_named_one(family: Family) -> None:
    refuses(family, family.root_plan(previous_sha256="0" * 64), "1.root.json is the newest that is there")
    refuses(family, family.root_plan(previous_sha256=None), "Give its SHA-256 as previous_sha256")
    family.files.pop("1.bins.json")
    refuses(family, family.bins_plan(previous_sha256="0" * 64), "There is no former version of bins")


def test_every_name_is_of_use_and_of_one_key(family: Family) -> None:
    family.add("heidi")
    refuses(family, family.root_plan(also=("heidi",)), "The key 'heidi' is in no role")
    family.signers["ellis"] = family.signers["alice"]
    refuses(family, family.root_plan(also=("ellis",)), "Two names are given to one key")


def test_names_are_plain_and_used_once(family: Family) -> None:
    for plan, told in (
        (lambda: family.root_plan(keys=(NamedKey("al\u0456ce", family.key("alice")),)), "ASCII"),
        (lambda: family.root_plan(keys=(NamedKey("alice", family.key("alice")),) * 2), "Two keys are called 'alice'"),
        (lambda: family.root_plan(keys=()), "A role names the key 'alice', and"),
        (lambda: family.root_plan(("alice", "alice")), "names the key 'alice' twice"),
    ):
        with pytest.raises(InvalidRequestError, match=told):
            plan()


def test_first_targets_are_told(family: Family) -> None:
    family.files = {"1.root.json": family.files["1.root.json"]}
    told = words(family.draft(family.targets_plan()))
    assert "bins (offline): 2 of 2 keys." == told[1]
    assert 4 == len(told)


# ---- Rules -----------------------------------------------------------------------------------------------------------
def test_targets_under_a_root_that_revoked_its_keys_cannot_authorise_bins(family: Family) -> None:
    family.add("heidi")
    family.hold(family.root_plan(targets=("heidi",)), "alice", "bob")
    refuses(family, family.bins_plan(), "Hold a ceremony for targets first")


def test_bins_need_targets_that_delegate_to_them(family: Family) -> None:
    plan = family.bins_plan()
    family.keep(Targets(2, expires=NOW + timedelta(days=9)), Kind.TARGETS, *TARGETS)
    refuses(family, plan, "2.targets.json does not delegate to bins")
    family.files = {name: content for name, content in family.files.items() if "root" in name}
    refuses(family, family.bins_plan(), "There is no targets metadata")


def test_one_keyid_cannot_mean_two_keys(family: Family) -> None:
    """In the former root and in the new one, of which only one could be satisfied by a signature."""
    family.files = {}
    family.add_under_keyid("alice", "a" * 64)
    family.hold(family.root_plan(), "alice", "bob")
    family.add_under_keyid("alice", "a" * 64)
    refuses(family, family.root_plan(), f"The keyid {'a' * 64} means one key in the former root and another")


def test_one_key_cannot_stand_under_two_keyids(family: Family) -> None:
    draft = family.draft(family.root_plan())
    assert isinstance(draft.signed, Root)
    family.add_under_keyid("twice", "a" * 64, like="alice")
    draft.signed.add_key(family.key("twice"), "root")
    with pytest.raises(InvalidRequestError, match="One key stands there under two keyids"):
        require_sound(Kind.ROOT, draft.signed, draft.chain)


def test_online_roles_want_one_signature(family: Family) -> None:
    family.add("online-2")
    refuses(family, family.bins_plan(("online", "online-2"), threshold=2), "its threshold must be 1")


def test_key_of_a_scheme_that_not_every_client_verifies_is_refused(family: Family) -> None:
    draft = family.draft(family.root_plan())
    assert isinstance(draft.signed, Root)
    draft.signed.add_key(Key.from_dict("a" * 64, _unknown_key()), "root")
    with pytest.raises(InvalidRequestError, match="has the scheme 'rsassa-pss-sha512', which not every client"):
        require_sound(Kind.ROOT, draft.signed, draft.chain)


def _unknown_key() -> dict[str, Any]:
    return {"keytype": "rsa", "scheme": "rsassa-pss-sha512", "keyval": {"public": "x"}}


def test_former_root_whose_threshold_nobody_can_reach_is_noticed(family: Family) -> None:
    required = quorums(Kind.TARGETS, family.draft(family.targets_plan()).signed, family.chain)
    few = [type(one)(one.by, {}, one.threshold) for one in required]
    draft = family.draft(family.targets_plan())
    with pytest.raises(InvalidRequestError, match="root 1 wants 2 signatures and lists 0 keys"):
        require_signable(draft.kind, draft.signed, draft.chain, few, NOW)


@pytest.mark.parametrize(
    ("days", "told"), [(0, "2.bins.json would have expired"), (3661, "2.bins.json would expire at 2040-01-10")]
)
def test_expiry_must_be_sane(family: Family, days: int, told: str) -> None:
    draft = family.draft(family.bins_plan(expires=NOW + timedelta(days=days)))
    with pytest.raises(RefusedError) as caught:
        check(draft)
    assert told in caught.value.message
    assert "clock says 2030-01-01 00:00 UTC" in caught.value.message
    assert Reason.CEREMONY_REFUSED == caught.value.reason


@pytest.mark.parametrize("file", ["1.root.json", "1.targets.json"])
def test_what_says_who_signs_must_not_have_expired(family: Family, file: str) -> None:
    signers = ("alice", "bob") if "root" in file else TARGETS
    family.resign(file, lambda signed: setattr(signed, "expires", NOW), *signers)
    draft = family.draft(family.bins_plan())
    with pytest.raises(RefusedError, match=f"{file} says who signs bins, and expired at 2030-01-01"):
        check(draft)


def test_former_root_may_have_expired(family: Family) -> None:
    family.resign("1.root.json", lambda signed: setattr(signed, "expires", NOW), "alice", "bob")
    draft = family.draft(family.root_plan())
    check(draft)
    assert ["1.root.json expired at 2030-01-01T00:00:00+00:00"] == [
        warning.partition(":00: ")[0] + ":00" for warning in warnings(draft.kind, draft.signed, draft.chain, NOW)
    ]


def test_online_and_offline_keys_are_compared_with_the_other_metadata(family: Family) -> None:
    refuses(family, family.root_plan(online=("frank",)), "to sign both 'bins' and '")
    refuses(family, family.targets_plan(("online",)), "to sign both 'bins' and '")
    refuses(family, family.bins_plan(("alice",)), "to sign both 'bins-*' and 'root'")


def test_targets_that_delegate_to_nobody_share_no_key(family: Family) -> None:
    family.files.pop("1.bins.json")
    family.keep(Targets(2, expires=NOW), Kind.TARGETS, *TARGETS)
    check(family.draft(family.root_plan()))


def test_keys_that_others_share_already_do_not_stop_an_unrelated_ceremony(family: Family) -> None:
    """They could never be separated otherwise."""
    family.files.pop("1.bins.json")
    family.hold(family.bins_plan(("frank",)), *BINS)
    check(family.draft(family.root_plan()))
    refuses(family, family.targets_plan(), "to sign both 'bins' and 'bins-*'")


# ---- Shape -----------------------------------------------------------------------------------------------------------
def _delegate(signed: Any) -> None:
    signed.delegations.roles["extra"] = DelegatedRole("extra", [], 1, False, paths=["*"])


def _delegate_to_bins_directly(signed: Any) -> None:
    signed.delegations.roles = None
    signed.delegations.succinct_roles = SuccinctRoles([], 1, 1, "bins")


@pytest.mark.parametrize(
    ("kind", "change", "told"),
    [
        (Kind.ROOT, lambda signed: signed.unrecognized_fields.update(x=1), "has the fields 'x'"),
        (Kind.ROOT, lambda signed: signed.roles["root"].unrecognized_fields.update(y=1), "has the fields 'y'"),
        (Kind.TARGETS, lambda signed: signed.targets.update(a=TargetFile.from_data("a", b"")), "lists 1 targets"),
        (Kind.TARGETS, lambda signed: setattr(signed, "delegations", None), "delegates to nobody"),
        (Kind.TARGETS, _delegate_to_bins_directly, "delegates to the hash bins itself"),
        (Kind.TARGETS, _delegate, "delegates to 'extra'"),
        (Kind.TARGETS, lambda signed: signed.delegations.unrecognized_fields.update(z=1), "has the fields 'z'"),
        (Kind.BINS, lambda signed: signed.targets.update(a=TargetFile.from_data("a", b"")), "lists 1 targets"),
        (Kind.BINS, lambda signed: setattr(signed, "delegations", None), "does not delegate to hash bins"),
        (Kind.BINS, lambda signed: setattr(signed.delegations, "succinct_roles", None), "does not delegate"),
        (Kind.BINS, lambda signed: setattr(signed.delegations.succinct_roles, "bit_length", 17), "2\\^17 bins"),
        (Kind.BINS, lambda signed: setattr(signed.delegations.succinct_roles, "name_prefix", "\x1b"), "'\\\\x1b'"),
        (Kind.BINS, lambda signed: signed.delegations.succinct_roles.unrecognized_fields.update(q=1), "fields 'q'"),
    ],
)
def test_metadata_that_says_more_is_not_replaced(
    family: Family, kind: Kind, change: Callable[[Any], None], told: str
) -> None:
    """A ceremony file could not say it again, and it would silently be lost."""
    newest = family.chain.previous(kind)
    assert newest is not None
    require_shape(kind, newest.signed, newest.name)
    change(newest.signed)
    with pytest.raises(InvalidRequestError, match=told):
        require_shape(kind, newest.signed, newest.name)


# ---- In words --------------------------------------------------------------------------------------------------------
def test_changes_of_root_are_told(family: Family) -> None:
    family.add("heidi")
    told = words(family.draft(family.root_plan(("alice", "heidi"), consistent_snapshot=False, also=("bob",))))
    assert "root (offline): 2 of 3 keys -> 2 of 2 keys." in told
    assert "targets (offline): 2 of 2 keys, as before." in told
    assert any(line.startswith(f"  ADDS  heidi ({family.keyid('heidi')[:8]}), SHA-256 ") for line in told)
    assert f"  DROPS bob ({family.keyid('bob')[:8]})" in told
    assert f"  DROPS unnamed key {family.keyid('carol')}" in told
    assert f"  keeps alice ({family.keyid('alice')[:8]})" in told
    assert "consistent_snapshot: true -> false." in told


def test_key_that_is_only_called_the_same_is_not_shown_as_kept(family: Family) -> None:
    newest = family.chain.roots[-1]
    family.add_under_keyid("mallory", family.keyid("alice"))
    newest.signed.keys[family.keyid("alice")] = family.key("mallory")
    told = describe(Kind.ROOT, newest.signed, family.chain, {family.keyid("alice"): "alice"})
    assert {"ADDS", "DROPS"} == {line.split()[0] for line in told if " alice " in line}


def test_changes_of_bins_are_told(family: Family) -> None:
    draft = family.draft(family.bins_plan(bit_length=4))
    assert "2 hash bins called bins-* -> 16 hash bins called bins-*." in words(draft)
    assert any("will not import other changes" in one for one in warnings(draft.kind, draft.signed, draft.chain, NOW))
    family.files.pop("1.bins.json")
    assert "Targets are spread over 2 hash bins called bins-*." == words(family.draft(family.bins_plan()))[-1]


def test_other_form_of_the_delegation_to_bins_is_told_in_a_line(family: Family) -> None:
    by_prefixes = BinsContent(Signers(ONLINE, 1), HashBins(4, form=DelegationForm.PATH_HASH_PREFIXES))
    told = words(family.draft(family.plan(by_prefixes, *ONLINE)))
    assert "bins-* (online): 1 of 1 keys, as before." in told
    assert "2 hash bins called bins-* -> 16 hash bins called bins-*, each with its path_hash_prefixes." in told


def test_former_bins_that_are_uneven_are_not_replaced(family: Family) -> None:
    by_prefixes = BinsContent(Signers(ONLINE, 1), HashBins(4, form=DelegationForm.PATH_HASH_PREFIXES))
    family.files.pop("1.bins.json")
    family.hold(family.plan(by_prefixes, *ONLINE), *BINS)
    family.resign("1.bins.json", lambda signed: setattr(signed.delegations.roles["bins-3"], "threshold", 2), *BINS)
    refuses(family, family.bins_plan(), "uneven hash bins (the bin 'bins-3' has other keys")


def test_other_prefix_of_bins_is_told_as_another_role(family: Family) -> None:
    draft = family.draft(family.bins_plan())
    draft.signed.delegations.succinct_roles.name_prefix = "other"  # type: ignore[union-attr]
    assert "The role 'bins-*' is no longer there." in words(draft)


def test_other_paths_are_told(family: Family) -> None:
    def fewer(signed: Any) -> None:
        signed.delegations.roles["bins"].path_hash_prefixes = ["0"]

    family.files.pop("1.bins.json")
    family.resign("1.targets.json", fewer, *TARGETS)
    assert "Other paths are delegated than before." in words(family.draft(family.targets_plan()))


def test_absent_consistent_snapshot_is_told(family: Family) -> None:
    family.resign("1.root.json", lambda signed: setattr(signed, "consistent_snapshot", None), "alice", "bob")
    family.files = {"1.root.json": family.files["1.root.json"]}
    assert "consistent_snapshot: absent -> true." in words(family.draft(family.root_plan()))


def test_keys_are_called_by_their_names() -> None:
    assert f"alice ({'a' * 8})" == called("a" * 64, {"a" * 64: "alice"})
    assert f"unnamed key {'b' * 64}" == called("b" * 64, {})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"root": ("alice",), "threshold": 1}, "One key alone can sign 'root'"),
        ({"root": ("alice", "bob"), "threshold": 2}, "Every key of root is needed"),
        ({"targets": ("alice", "bob")}, "signs both 'root' and 'targets'"),
        ({"expires": NOW + timedelta(days=29)}, "It expires in 29 days"),
        ({"expires": NOW + timedelta(days=733)}, "It expires in 733 days. PEP 458"),
        ({"consistent_snapshot": False}, "consistent_snapshot is not true"),
        ({"targets": ("frank", "grace")}, "1.targets.json is not signed by enough of the keys that this version"),
    ],
)
def test_what_is_allowed_and_seldom_meant_is_warned_of(family: Family, options: dict[str, Any], told: str) -> None:
    draft = family.draft(family.root_plan(**options))
    assert any(told in warning for warning in warnings(draft.kind, draft.signed, draft.chain, NOW))


def test_nothing_is_warned_of_where_nothing_is_amiss(family: Family) -> None:
    for plan in (family.root_plan(), family.targets_plan(), family.bins_plan()):
        draft = family.draft(plan)
        assert [] == warnings(draft.kind, draft.signed, draft.chain, NOW)
    assert [] == warnings(Kind.TARGETS, family.draft(family.targets_plan()).signed, Chain(family.chain.roots), NOW)
