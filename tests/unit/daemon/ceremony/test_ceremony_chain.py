"""The verified chain: what may stand in the folder of a repository's metadata, and what must not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tuf.api.metadata import Metadata, Root, Targets, Timestamp

from tests.unit.daemon.ceremony.family import BINS, NOW, TARGETS, Family
from wharfinger_daemon.ceremony.chain import Chain, verify_chain
from wharfinger_daemon.ceremony.plan import Kind
from wharfinger_daemon.errors import InvalidRequestError, Reason


def refuses(files: dict[str, bytes], pin: str, told: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        verify_chain(files, pin)
    assert told in caught.value.message
    assert Reason.CEREMONY_INVALID == caught.value.reason


def test_everything_that_was_signed_is_verified(family: Family) -> None:
    chain = family.chain
    assert {"1.root.json": 1, "1.targets.json": 1, "1.bins.json": 1} == {
        file.name: file.by for kind in Kind for file in chain.of(kind)
    }
    assert family.files == chain.files()


def test_other_files_are_not_looked_at(family: Family) -> None:
    family.files |= {"timestamp.json": b"?", "01.root.json": b"?", "1.bins-0.json": b"?", "0.root.json": b"?"}
    assert 1 == len(family.chain.roots)


def test_empty_chain_has_no_former_version() -> None:
    assert [None] * 3 == [Chain().previous(kind) for kind in Kind]


def test_roots_are_wanted_from_the_first_on(family: Family) -> None:
    refuses({}, "0" * 64, "1.root.json is missing. Bring all roots")
    refuses({"2.root.json": b""}, "0" * 64, "1.root.json is missing, and 2.root.json is there")


def test_each_root_follows_the_one_before(family: Family) -> None:
    family.hold(family.root_plan(), "alice", "bob")
    family.hold(family.root_plan(), "bob", "carol")
    assert [1, 1, 2] == [file.by for file in family.chain.roots]


def test_root_signed_by_its_own_keys_alone_is_refused(family: Family) -> None:
    family.add("mallory")
    plan = family.root_plan(("mallory",), threshold=1)
    family.hold(plan, "mallory")
    refuses(family.files, family.pin, "not signed by enough of the keys that 1.root.json lists")


def test_root_signed_by_the_former_keys_alone_is_refused(family: Family) -> None:
    family.add("heidi")
    family.hold(family.root_plan(("heidi",), threshold=1), "alice", "bob")
    refuses(family.files, family.pin, "not signed by enough of the keys that 2.root.json lists")


def test_targets_of_a_former_root_stand(family: Family) -> None:
    """After a compromise, root lists other keys than those that signed the targets of before."""
    family.add("heidi")
    family.hold(family.root_plan(targets=("heidi",)), "alice", "bob")
    assert [1] == [file.by for file in family.chain.targets]
    family.hold(family.targets_plan(), "heidi")
    assert [1, 2] == [file.by for file in family.chain.targets]


def test_targets_that_no_root_authorises_are_refused(family: Family) -> None:
    family.resign("1.targets.json", lambda signed: None, "alice")
    refuses(family.files, family.pin, "any root metadata lists")


def test_bins_that_no_targets_delegate_to_are_refused(family: Family) -> None:
    def drop(signed: Any) -> None:
        signed.delegations = None

    family.resign("1.targets.json", drop, *TARGETS)
    refuses(family.files, family.pin, "1.bins.json is not signed by enough of the keys that any targets metadata lists")


def test_file_that_is_another_version_is_refused(family: Family) -> None:
    family.files["2.bins.json"] = family.files["1.bins.json"]
    refuses(family.files, family.pin, "2.bins.json says that it is version 1")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "cannot be read as TUF metadata"),
        (b" " * 5_000_001, "clients read 5000000 at most"),
        (Metadata(Timestamp(expires=NOW)).to_bytes(), "2.bins.json is timestamp metadata"),
        (Metadata(Root(expires=NOW)).to_bytes(), "2.bins.json is root metadata"),
    ],
)
def test_file_that_is_something_else_is_refused(family: Family, content: bytes, told: str) -> None:
    family.files["2.bins.json"] = content
    refuses(family.files, family.pin, told)


def test_keyids_are_digests_because_they_become_names_of_files(family: Family) -> None:
    family.add_under_keyid("heidi", "../../heidi")
    root = family.draft(family.root_plan()).signed
    assert isinstance(root, Root)
    root.add_key(family.key("heidi"), "root")
    family.keep(root, Kind.ROOT, "alice", "bob")
    refuses(family.files, family.pin, "'../../heidi', which is no SHA-256")


def test_expiry_is_not_judged(family: Family) -> None:
    """What has expired is what a ceremony renews."""

    def expire(signed: Any) -> None:
        signed.expires = NOW - timedelta(days=1000)

    family.resign("1.bins.json", expire, *BINS)
    assert family.chain.bins[0].signed.expires < NOW


def test_targets_without_delegations_list_no_keys(family: Family) -> None:
    family.files.pop("1.bins.json")
    family.keep(Targets(2, expires=NOW), Kind.TARGETS, *TARGETS)
    assert 2 == family.chain.targets[-1].signed.version
