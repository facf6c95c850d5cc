"""The folder that is carried from signer to signer: any change is noticed, and none trips a command over."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from securesystemslib.signer import Signature

from tests.unit.daemon.ceremony.family import BINS, NOW, Family, first_family
from wharfinger_daemon import canonical
from wharfinger_daemon.ceremony.plan import Kind
from wharfinger_daemon.ceremony.publication import assemble
from wharfinger_daemon.ceremony.record import grouped, record_name, write_record
from wharfinger_daemon.ceremony.signatures import (
    Collected,
    collect,
    encode_signature,
    require_may_sign,
    signature_name,
    states,
)
from wharfinger_daemon.ceremony.staging import CONTENT, RECORD, Staged, read_staged
from wharfinger_daemon.errors import InvalidRequestError, Reason, RefusedError

_FAMILY = first_family()
_FOLDER = _FAMILY.folder(_FAMILY.root_plan())


def signed_by(family: Family, staged: Staged, *names: str) -> dict[str, bytes]:
    """Signature files, as ``sign`` writes them."""
    files = {}
    for name in names:
        signature = family.signers[name].sign(staged.content)
        files[signature_name(signature.keyid)] = encode_signature(staged, signature)
    return files


def refuses(files: dict[str, bytes], told: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_staged(files)
    assert told in caught.value.message


def replaced(files: dict[str, bytes], content: bytes, **record: Any) -> dict[str, bytes]:
    """A folder whose carrier changed what is signed, and made the record fit."""
    changed = json.loads(files[RECORD])
    changed |= {"sha256": hashlib.sha256(content).hexdigest(), "sha512": hashlib.sha512(content).hexdigest(), **record}
    return {**files, CONTENT: content, RECORD: json.dumps(changed).encode()}


def edited(files: dict[str, bytes], change: Callable[[dict[str, Any]], None]) -> dict[str, bytes]:
    """The same, in canonical JSON."""
    document = json.loads(files[CONTENT], strict=False)
    change(document)
    return replaced(files, canonical.encode(document))


def test_folder_is_read_as_it_was_staged(family: Family) -> None:
    for plan in (family.root_plan(), family.targets_plan(), family.bins_plan()):
        draft = family.draft(plan)
        staged = read_staged(family.folder(plan), family.pin)
        assert (draft.content, draft.quorums, draft.names) == (staged.content, staged.quorums, staged.record.names)
        assert f"2.{draft.kind}.json" == staged.name
        assert hashlib.sha256(draft.content).hexdigest() == staged.record.sha256


def test_record_comes_last_so_that_a_folder_that_was_not_finished_has_none(family: Family) -> None:
    assert [CONTENT, RECORD] == list(family.folder(family.bins_plan()))[-2:]


def test_first_root_trusts_no_other(family: Family) -> None:
    family.files = {}
    folder = family.folder(family.root_plan())
    assert 1 == read_staged(folder).signed.version
    with pytest.raises(InvalidRequestError, match="none, because it holds the first root"):
        read_staged(folder, "0" * 64)
    refuses({**folder, "trust/1.root.json": b""}, "names no trusted root")


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"format": 2}, "has the format 2"),
        ({"kind": "snapshot"}, "is damaged"),
        ({"extra": 1}, "is damaged"),
        ({"version": 3}, "is version 2, and version 2 would be the next"),
        ({"names": {"0" * 64: "al\u0456ce"}}, "names that are not plain"),
        ({"names": {"0" * 64: "alice", "1" * 64: "alice"}}, "one name to two of them"),
        ({"root_sha256": ""}, "names no trusted root"),
        ({"sha512": "0" * 128}, "was changed since it was staged"),
    ],
)
def test_record_that_does_not_fit_is_refused(family: Family, record: dict[str, Any], told: str) -> None:
    folder = family.folder(family.root_plan())
    refuses({**folder, RECORD: json.dumps({**json.loads(folder[RECORD]), **record}).encode()}, told)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[]", "is no root metadata"),
        (b"{}", "is no root metadata"),
        (b'{"_type":"root"}', "cannot be read as TUF metadata"),
        (b'{"_type":', "cannot be read as TUF metadata"),
        (b"\xff", "cannot be read as TUF metadata"),
        (b"[" * 100_000, "cannot be read as TUF metadata"),
        (b" " * 512_001, "clients read 512000 at most"),
    ],
)
def test_content_that_is_something_else_is_refused(family: Family, content: bytes, told: str) -> None:
    refuses(replaced(family.folder(family.root_plan()), content), told)


def test_content_that_is_not_canonical_is_refused(family: Family) -> None:
    folder = family.folder(family.root_plan())
    refuses(replaced(folder, folder[CONTENT] + b" "), "is not canonical JSON")
    refuses(replaced(folder, folder[CONTENT].replace(b"{", b'{"version":2,', 1)), "is not canonical JSON")


def test_content_without_a_canonical_form_is_refused(family: Family) -> None:
    folder = family.folder(family.root_plan())
    content = folder[CONTENT].replace(b'"version":2', b'"version":2,"x":1.5')
    refuses(replaced(folder, content), "floating-point")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda document: document["roles"]["root"].update(threshold=4), "Nobody could ever sign it"),
        (lambda document: document.update(x=1), "has the fields 'x'"),
        (lambda document: document["keys"].update(short=next(iter(document["keys"].values()))), "keyids that are none"),
    ],
)
def test_staged_metadata_keeps_the_rules_whoever_staged_it(
    family: Family, change: Callable[[dict[str, Any]], None], told: str
) -> None:
    refuses(edited(family.folder(family.root_plan()), change), told)


def test_version_that_is_not_the_next_is_refused(family: Family) -> None:
    folder = edited(family.folder(family.root_plan()), lambda document: document.update(version=3))
    refuses(replaced(folder, folder[CONTENT], version=3), "is version 3, and version 2 would be the next")


@pytest.mark.parametrize("name", [CONTENT, RECORD])
def test_folder_that_lacks_a_file_is_refused(family: Family, name: str) -> None:
    folder = family.folder(family.root_plan())
    del folder[name]
    refuses(folder, f"The folder has no {name}")


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    name=st.sampled_from(sorted(_FOLDER)),
    place=st.integers(0, 4000),
    put=st.binary(max_size=3),
    consistent=st.booleans(),
)
def test_no_change_passes_or_trips_it_over(name: str, place: int, put: bytes, consistent: bool) -> None:
    """Whatever is changed, in one file, or in the content together with the digests that the record has of it."""
    before = _FOLDER[name]
    place %= len(before)
    after = before[:place] + put + before[place + len(put) :]
    folder = {**_FOLDER, name: after}
    if name == CONTENT and consistent:
        folder = replaced(_FOLDER, after)
    try:
        staged = read_staged(folder, _FAMILY.pin)
    except InvalidRequestError:
        return
    # What still passes says who signs by the same chain, and shows exactly what would be signed.
    assert staged.chain.roots[-1].content == _FAMILY.files["1.root.json"] or name.startswith("trust/1.targets")
    assert canonical.encode(staged.signed.to_dict()) == staged.content
    assert hashlib.sha256(staged.content).hexdigest() == staged.record.sha256


# ---- Signatures ------------------------------------------------------------------------------------------------------
def test_signatures_are_counted_for_both_roots(family: Family) -> None:
    family.add("heidi")
    staged = family.staged(family.root_plan(("alice", "bob", "heidi"), also=("carol",)))
    collected = collect(staged, signed_by(family, staged, "alice", "carol", "heidi"))
    assert {} == collected.problems
    assert [
        (["alice", "carol"], ["bob"], True),
        (["alice", "heidi"], ["bob"], True),
    ] == [
        (
            [staged.record.names[one] for one in state.signed],
            [staged.record.names[one] for one in state.missing],
            state.met,
        )
        for state in states(staged, collected)
    ]


def test_key_may_sign_once_and_only_if_it_is_listed(family: Family) -> None:
    staged = family.staged(family.root_plan())
    collected = collect(staged, signed_by(family, staged, "alice"))
    require_may_sign(staged, family.keyid("bob"), collected)
    with pytest.raises(RefusedError, match="has signed already"):
        require_may_sign(staged, family.keyid("alice"), collected)
    with pytest.raises(RefusedError, match=r"dave \(.*\) may not sign 2.root.json: not in root 1, root 2") as caught:
        require_may_sign(staged, family.keyid("dave"), collected)
    assert Reason.KEY_NOT_AUTHORISED == caught.value.reason


def test_wrong_signature_of_a_signer_is_refused_before_it_is_kept(family: Family) -> None:
    staged = family.staged(family.root_plan())
    for wrong in (family.signers["alice"].sign(b"something else"), Signature(family.keyid("alice"), "")):
        with pytest.raises(RefusedError, match="The signer returned a wrong signature") as caught:
            encode_signature(staged, wrong)
        assert Reason.SIGNATURE_INVALID == caught.value.reason


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"keyid": 1}', b"null"])
def test_file_that_is_no_signature_is_a_problem_and_stops_nothing_else(family: Family, content: bytes) -> None:
    staged = family.staged(family.root_plan())
    collected = collect(staged, {**signed_by(family, staged, "alice"), "\x1b.json": content})
    assert {family.keyid("alice")} == set(collected.signatures)
    assert ["\x1b.json"] == list(collected.problems)
    assert "\x1b" not in collected.problems["\x1b.json"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"staged_sha256": "0" * 64}, "is a signature of something else"),
        ({"keyid": "0" * 64}, "is not of a key that may sign"),
        ({"sig": "AB"}, "is not in hexadecimal"),
        ({"sig": "ab"}, "is no signature of 2.root.json by alice"),
    ],
)
def test_signature_that_does_not_hold_is_a_problem(family: Family, change: dict[str, str], told: str) -> None:
    staged = family.staged(family.root_plan())
    ((name, content),) = signed_by(family, staged, "alice").items()
    collected = collect(staged, {name: json.dumps({**json.loads(content), **change}).encode()})
    assert {} == collected.signatures
    assert told in collected.problems[name]


# ---- Publication -----------------------------------------------------------------------------------------------------
def test_publication_is_what_clients_verify(family: Family) -> None:
    staged = family.staged(family.bins_plan())
    content = assemble(staged, collect(staged, signed_by(family, staged, *BINS)))
    family.files["2.bins.json"] = content
    assert 2 == family.chain.bins[-1].signed.version
    keyids = list(json.loads(content)["signatures"])
    assert sorted(keyids, key=lambda one: one["keyid"]) == keyids


def test_publication_of_the_first_root_is_its_own_pin(family: Family) -> None:
    family.files = {}
    staged = family.staged(family.root_plan())
    assert assemble(staged, collect(staged, signed_by(family, staged, "alice", "bob", "carol")))


def test_publication_wants_every_threshold_and_no_strange_file(family: Family) -> None:
    staged = family.staged(family.bins_plan())
    collected = collect(staged, signed_by(family, staged, "frank"))
    with pytest.raises(RefusedError, match="targets 1 wants 2, and 1 of its keys") as caught:
        assemble(staged, collected)
    assert Reason.CEREMONY_INCOMPLETE == caught.value.reason
    with pytest.raises(InvalidRequestError, match="take these out:\n  what is wrong"):
        assemble(staged, Collected(collected.signatures, {"file": "what is wrong"}))


def test_record_is_plain_and_complete(family: Family) -> None:
    staged = family.staged(family.targets_plan())
    collected = collect(staged, signed_by(family, staged, "dave", "erin"))
    content = assemble(staged, collected)
    record = write_record(staged, collected, content, NOW)
    assert record.isascii()
    for wanted in (
        "RECORD OF A TARGETS CEREMONY: 2.targets.json",
        "Put together:   2030-01-01 00:00:00 UTC",
        grouped(hashlib.sha256(content).hexdigest()),
        grouped(hashlib.sha512(content).hexdigest()[:64]),
        grouped(staged.record.sha256),
        grouped(hashlib.sha256(family.files["1.root.json"]).hexdigest()),
        "bins: 2 of 2 keys, offline",
        f"frank, ecdsa-sha2-nistp256\n  keyid    {grouped(family.keyid('frank'))}",
        "root 1 wants 2 of 2; signed by 2:\n  (no name)\n  (no name)",
    ):
        assert wanted in record
    assert "2.targets.record.txt" == record_name(Kind.TARGETS, 2)
