"""Attacks on ``Sign`` with a certificate that may sign: bytes that mean two things, versions used twice, roles of
others, and a publisher that is to be stopped. What is refused leaves no trace in the ledger."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.security.attacker import (
    ONCE,
    REPOSITORY,
    canonical,
    doubled_versions,
    later,
    ledger_rows,
    published,
    reason_of,
    target,
)
from tests.support.daemon_process import DaemonProcess, poll
from tests.support.repository import published_versions, targets_of
from wharfinger_client import Client, ServingStatus, SigningItem

Document = dict[str, Any]


@pytest.fixture(scope="module")
def client(shared_daemon: DaemonProcess) -> Iterator[Client]:
    with shared_daemon.client(retry=ONCE) as client:
        client.publish_targets(REPOSITORY, add=[target(f"packages/{n}") for n in range(8)])
        yield client


def refused(daemon: DaemonProcess, client: Client, *items: SigningItem) -> str:
    """Why a batch is refused; that nothing of it is in the ledger, and that Lint says the same, is checked."""
    before = ledger_rows(daemon)
    reason = reason_of(lambda: client.sign(items))
    assert before == ledger_rows(daemon)
    assert reason in [""] + [result.reason for result in client.lint(items)]
    return reason


# ---- Bytes that could mean two things --------------------------------------------------------------------------------
def with_member(value: bytes) -> Callable[[Document], bytes]:
    """The document with one more attribute, whose value is exactly these bytes."""
    return lambda document: canonical(document | {"x": 0}).replace(b'"x":0', b'"x":' + value)


def edited(old: bytes, new: bytes) -> Callable[[Document], bytes]:
    return lambda document: canonical(document).replace(old, new, 1)


BYTES: dict[str, tuple[Callable[[Document], bytes], str]] = {
    "white space": (edited(b":", b": "), "NOT_CANONICAL_JSON"),
    "a line break behind": (lambda document: canonical(document) + b"\n", "NOT_CANONICAL_JSON"),
    "another order": (lambda document: b'{"version":9,' + canonical(document)[1:], "NOT_CANONICAL_JSON"),
    "a key twice": (edited(b'{"_type"', b'{"_type":"snapshot","_type"'), "NOT_CANONICAL_JSON"),
    "a key twice, escaped": (edited(b'{"_type"', b'{"\\u005ftype":"snapshot","_type"'), "NOT_CANONICAL_JSON"),
    "an escape": (edited(b'"timestamp"', b'"timest\\u0061mp"'), "NOT_CANONICAL_JSON"),
    "a fraction": (with_member(b"1.5"), "NOT_CANONICAL_JSON"),
    "an exponent": (with_member(b"1e3"), "NOT_CANONICAL_JSON"),
    "minus zero": (with_member(b"-0"), "NOT_CANONICAL_JSON"),
    "65 bits": (with_member(b"18446744073709551616"), "NOT_CANONICAL_JSON"),
    "5,000 digits": (with_member(b"9" * 5000), "NOT_CANONICAL_JSON"),
    "NaN": (with_member(b"NaN"), "NOT_JSON"),
    "Infinity": (with_member(b"-Infinity"), "NOT_JSON"),
    "nesting": (with_member(b"[" * 100_000 + b"]" * 100_000), "NOT_JSON"),
    "less nesting": (with_member(b"[" * 900 + b"]" * 900), "NOT_CANONICAL_JSON"),
    "a lone surrogate": (with_member(b'"\\ud800"'), "NOT_CANONICAL_JSON"),
    "an encoded surrogate": (with_member(b'"\xed\xa0\x80"'), "NOT_JSON"),
    "an overlong slash": (with_member(b'"\xc0\xaf"'), "NOT_JSON"),
    "a byte order mark": (lambda document: b"\xef\xbb\xbf" + canonical(document), "NOT_JSON"),
    "a NUL behind": (lambda document: canonical(document) + b"\0", "NOT_JSON"),
    "two documents": (lambda document: canonical(document) * 2, "NOT_JSON"),
    "UTF-16": (lambda document: canonical(document).decode().encode("utf-16"), "NOT_JSON"),
    "nothing": (lambda document: b"", "NOT_JSON"),
    "no object": (lambda document: b"[]", "NOT_TUF_METADATA"),
}


@pytest.mark.parametrize("name", BYTES)
def test_bytes_that_two_parsers_could_read_differently_are_not_signed(
    shared_daemon: DaemonProcess, client: Client, name: str
) -> None:
    mutate, reason = BYTES[name]
    signed = mutate(later(published(client, "timestamp")))
    assert reason == refused(shared_daemon, client, SigningItem(REPOSITORY, signed, "timestamp"))


ATTRIBUTES: dict[str, tuple[Document, str]] = {
    "version 0": ({"version": 0}, "NOT_TUF_METADATA"),
    "version -1": ({"version": -1}, "NOT_TUF_METADATA"),
    "version 2^63": ({"version": 2**63}, "NOT_TUF_METADATA"),
    "version as text": ({"version": "9"}, "NOT_TUF_METADATA"),
    "version true": ({"version": True}, "NOT_TUF_METADATA"),
    "the last version there is": ({"version": 2**63 - 1}, "VERSION_JUMP"),
    "no zone": ({"expires": "2030-01-01T00:00:00"}, "NOT_TUF_METADATA"),
    "a fraction of a second": ({"expires": "2030-01-01T00:00:00.5Z"}, "NOT_TUF_METADATA"),
    "a zone": ({"expires": "2030-01-01T00:00:00+00:00"}, "NOT_TUF_METADATA"),
    "a leap day that is none": ({"expires": "2027-02-29T00:00:00Z"}, "NOT_TUF_METADATA"),
    "other digits": ({"expires": "٢٠٣٠-01-01T00:00:00Z"}, "NOT_TUF_METADATA"),
    "a line break in a date": ({"expires": "2030-01-01T00:00:00Z\n"}, "NOT_TUF_METADATA"),
    "for ever": ({"expires": "9999-12-31T23:59:59Z"}, "EXPIRY_BEYOND_CEILING"),
    "the next specification": ({"spec_version": "2.0.0"}, "SPEC_VERSION_UNSUPPORTED"),
    "half a specification": ({"spec_version": "1"}, "NOT_TUF_METADATA"),
    "another type": ({"_type": "snapshot"}, "ROLE_TYPE_MISMATCH"),
    "a type in capitals": ({"_type": "Timestamp"}, "ROLE_TYPE_MISMATCH"),
    "no snapshot": ({"meta": {}}, "NOT_TUF_METADATA"),
    "a negative length": ({"meta": {"snapshot.json": {"version": 9, "length": -1}}}, "NOT_TUF_METADATA"),
    "no hashes": ({"meta": {"snapshot.json": {"version": 9, "hashes": {}}}}, "NOT_TUF_METADATA"),
    "an older snapshot": ({"meta": {"snapshot.json": {"version": 1}}}, "META_ROLLBACK"),
}


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_a_timestamp_that_clients_would_misjudge_is_not_signed(
    shared_daemon: DaemonProcess, client: Client, name: str
) -> None:
    changes, reason = ATTRIBUTES[name]
    signed = canonical(later(published(client, "timestamp")) | changes)
    assert reason == refused(shared_daemon, client, SigningItem(REPOSITORY, signed, "timestamp"))


# ---- Roles and keys of others ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "role",
    ["bins-0F", "bins-", "bins-00", "bins-4", "bins-*", "bins-0\n", "BINS-0", "../root", "timestamp ", "ｂins-0"],
)
def test_a_name_that_only_looks_like_a_role_is_unknown(shared_daemon: DaemonProcess, client: Client, role: str) -> None:
    signed = canonical(later(published(client, "bins-0")))
    assert "UNKNOWN_ROLE" == refused(shared_daemon, client, SigningItem(REPOSITORY, signed, role))


@pytest.mark.parametrize("length", [2_000, 100_000])
@pytest.mark.parametrize("character", ["x", "\n", "é", "\N{GRINNING FACE}"])
def test_a_long_name_does_not_push_the_status_out_of_the_trailers(client: Client, character: str, length: int) -> None:
    signed = canonical(later(published(client, "bins-0")))
    assert "UNKNOWN_ROLE" == reason_of(lambda: client.sign([SigningItem(REPOSITORY, signed, character * length)]))


def test_offline_roles_cannot_be_signed_with_the_token(shared_daemon: DaemonProcess, client: Client) -> None:
    for role in ("targets", "bins"):
        signed = canonical(later(published(client, role)))
        assert "KEY_NOT_HELD" == refused(shared_daemon, client, SigningItem(REPOSITORY, signed, role))


def test_the_keyid_of_another_role_is_not_authorised(shared_daemon: DaemonProcess, client: Client) -> None:
    signed = canonical(later(published(client, "timestamp")))
    roles = published(client, "root")["roles"]
    for keyid in roles["root"]["keyids"] + roles["targets"]["keyids"]:
        item = SigningItem(REPOSITORY, signed, "timestamp", keyid)
        assert "KEY_NOT_AUTHORISED" == refused(shared_daemon, client, item)
    unknown = SigningItem(REPOSITORY, signed, "timestamp", "0" * 64)
    assert "KEY_UNKNOWN" == refused(shared_daemon, client, unknown)


def test_a_bin_cannot_list_the_targets_of_another_bin(shared_daemon: DaemonProcess, client: Client) -> None:
    listed = [published(client, f"bins-{n}") for n in range(4)]
    stolen = {path: entry for one in listed[1:] for path, entry in one["targets"].items()}
    assert stolen
    signed = canonical(later(listed[0], targets=stolen))
    assert "TARGET_OUTSIDE_BIN" == refused(shared_daemon, client, SigningItem(REPOSITORY, signed, "bins-0"))


def test_a_bin_cannot_hand_its_targets_to_a_key_of_the_attacker(shared_daemon: DaemonProcess, client: Client) -> None:
    signed = canonical(later(published(client, "bins-0"), delegations={"keys": {}, "roles": []}))
    assert "DELEGATION_IN_BIN" == refused(shared_daemon, client, SigningItem(REPOSITORY, signed, "bins-0"))


# ---- Versions --------------------------------------------------------------------------------------------------------
def test_of_callers_that_race_for_a_version_with_different_bytes_one_wins(shared_daemon: DaemonProcess) -> None:
    with shared_daemon.client() as client:
        wanted = later(published(client, "timestamp"), 20)
    racers = 12
    clients = [shared_daemon.client(name, retry=ONCE) for name in ("warehouse", "security") * (racers // 2)]

    def race(number: int) -> str:
        signed = canonical(wanted | {"x": number})
        return reason_of(lambda: clients[number].sign([SigningItem(REPOSITORY, signed)]))

    with ThreadPoolExecutor(racers) as threads:
        reasons = list(threads.map(race, range(racers)))
    for one in clients:
        one.close()
    assert ["", *["VERSION_EQUIVOCATION"] * (racers - 1)] == sorted(reasons)
    assert [] == doubled_versions(shared_daemon)


def test_one_bad_item_leaves_nothing_of_its_batch_in_the_ledger(shared_daemon: DaemonProcess, client: Client) -> None:
    good = [
        SigningItem(REPOSITORY, canonical(later(published(client, role), 30)), role)
        for role in ("bins-0", "bins-1", "snapshot", "timestamp")
    ]
    bad = SigningItem(REPOSITORY, canonical(later(published(client, "bins-2"))) + b" ", "bins-2")
    for place in range(len(good) + 1):
        assert "NOT_CANONICAL_JSON" == refused(shared_daemon, client, *good[:place], bad, *good[place:])


def test_a_batch_cannot_hold_a_version_twice(shared_daemon: DaemonProcess, client: Client) -> None:
    wanted = later(published(client, "timestamp"), 40)
    items = [SigningItem(REPOSITORY, canonical(wanted | {"x": number})) for number in range(2)]
    assert "VERSION_EQUIVOCATION" == refused(shared_daemon, client, *items)


@pytest.mark.parametrize(("count", "reason"), [(0, "EMPTY_BATCH"), (257, "BATCH_TOO_LARGE")])
def test_batches_have_bounds(shared_daemon: DaemonProcess, client: Client, count: int, reason: str) -> None:
    before = ledger_rows(shared_daemon)
    item = SigningItem(REPOSITORY, canonical(later(published(client, "timestamp"), 50)))
    assert reason == reason_of(lambda: client.sign([item] * count))
    assert before == ledger_rows(shared_daemon)


def test_a_replay_of_an_old_version_gives_its_old_signature_and_nothing_new(
    shared_daemon: DaemonProcess, client: Client
) -> None:
    first = json.loads((shared_daemon.home / "metadata" / "1.snapshot.json").read_bytes())
    before = ledger_rows(shared_daemon)
    (signature,) = client.sign([SigningItem(REPOSITORY, canonical(first["signed"]))])
    assert (True, first["signatures"][0]["sig"]) == (signature.replayed, signature.sig)
    assert before == ledger_rows(shared_daemon)


# ---- Snapshots that would end the repository -------------------------------------------------------------------------
def test_a_snapshot_cannot_drop_or_lower_or_invent_what_it_names(shared_daemon: DaemonProcess, client: Client) -> None:
    """What a snapshot names once, every later one must name, no version lower: an invention would last for ever."""
    snapshot = later(published(client, "snapshot"), 60)

    def sign(meta: Document) -> str:
        return refused(shared_daemon, client, SigningItem(REPOSITORY, canonical(snapshot | {"meta": meta})))

    meta: Document = snapshot["meta"]
    raised = next(name for name, entry in meta.items() if name.startswith("bins-") and entry["version"] > 1)
    assert "META_ROLLBACK" == sign({name: entry for name, entry in meta.items() if name != "bins-3.json"})
    assert "META_ROLLBACK" == sign(meta | {raised: {"version": 1}})
    assert "UNKNOWN_ROLE" == sign(meta | {"bins-99.json": {"version": 1}})
    assert "NOT_TUF_METADATA" == sign(meta | {"root.json": {"version": 1}})
    assert "META_NOT_VERIFIED" == sign(meta | {"targets.json": {"version": 2}})


# ---- Attacks on the publisher of the same repository -----------------------------------------------------------------
def publishes_and_starts_again(daemon: DaemonProcess, place: Path) -> None:
    """The publisher works, clients believe it, health says so, and a restart changes nothing of that."""
    with daemon.client(retry=ONCE) as client:
        client.publish_targets(REPOSITORY, add=[target("packages/after-the-attack")], timeout=30)
        poll(lambda: client.check_health() is ServingStatus.SERVING, "health recovers")
    assert daemon.updater(place).get_targetinfo("packages/after-the-attack") is not None
    assert 0 == daemon.stop()
    daemon.start()
    with daemon.client() as client:
        client.publish_targets(REPOSITORY, add=[target("packages/after-the-restart")])
    assert {"packages/after-the-attack", "packages/after-the-restart"} <= set(targets_of(daemon.home / "metadata"))
    assert [] == doubled_versions(daemon)


@pytest.mark.parametrize("by", [1, 1000])
def test_who_signs_the_next_versions_of_all_roles_does_not_stop_the_publisher(
    daemon: DaemonProcess, tmp_path: Path, by: int
) -> None:
    """The versions are used up; the publisher must give way and go on, now and after a restart."""
    roles = ["bins-0", "bins-1", "bins-2", "bins-3", "snapshot", "timestamp"]
    with daemon.client("security") as client:
        taken = {role: later(published(client, role), by) for role in roles}
        client.sign([SigningItem(REPOSITORY, canonical(document), role) for role, document in taken.items()])
    publishes_and_starts_again(daemon, tmp_path)
    versions = published_versions(daemon.home / "metadata")
    for role in ("snapshot", "timestamp"):
        assert versions[role] > taken[role]["version"]


def test_who_signs_ever_next_versions_does_not_starve_the_publisher(daemon: DaemonProcess, tmp_path: Path) -> None:
    with daemon.client("security", retry=ONCE) as thief, daemon.client(retry=ONCE) as client:
        for number in range(5):
            taken = later(published(thief, "timestamp"), x=number)
            assert "" == reason_of(lambda taken=taken: thief.sign([SigningItem(REPOSITORY, canonical(taken))]))  # type: ignore[misc]
            client.publish_targets(REPOSITORY, add=[target(f"packages/{number}")], timeout=30)
    publishes_and_starts_again(daemon, tmp_path)


NAMED_BY = {"bins": "snapshot", "snapshot": "timestamp"}


@pytest.mark.parametrize("named", NAMED_BY)
def test_who_names_versions_that_nobody_signed_does_not_stop_the_publisher(
    daemon: DaemonProcess, tmp_path: Path, named: str
) -> None:
    """A ladder: each step names versions within the bound of the step before, until what is named is farther above what
    was signed than the bound allows to sign."""
    with daemon.client("security", retry=ONCE) as client:
        signed = published(client, NAMED_BY[named])
        for _ in range(3):
            signed = later(signed)
            for name, entry in signed["meta"].items():
                if name.startswith((f"{named}-", f"{named}.")) and name != "bins.json":
                    entry["version"] += 900
            step = copy.deepcopy(signed)
            reason_of(lambda step=step: client.sign([SigningItem(REPOSITORY, canonical(step))]))  # type: ignore[misc]
    publishes_and_starts_again(daemon, tmp_path)
