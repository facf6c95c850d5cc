"""Every ceremony that the guides describe, walked from the ceremony file to the client."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tuf.api.exceptions import RepositoryError, UnsignedMetadataError
from tuf.api.metadata import Metadata

from tests.integration.ceremony.rehearsal import BINS_KEYS, ROOT_KEYS, TARGETS_KEYS, Rehearsal


@pytest.fixture
def published(rehearsal: Rehearsal) -> Rehearsal:
    """After the first ceremonies and the first publication, which a client has seen."""
    rehearsal.hold_first()
    rehearsal.go_online()
    assert 1 == rehearsal.judge()
    return rehearsal


def test_first_ceremonies_make_a_repository_that_clients_trust(published: Rehearsal) -> None:
    records = {path.name for path in published.metadata.glob("*.txt")}
    assert {"1.root.record.txt", "1.targets.record.txt", "1.bins.record.txt"} == records
    for kind, signed in (("root", 2), ("targets", 2), ("bins", 2)):
        assert signed == len(Metadata.from_file(str(published.metadata / f"1.{kind}.json")).signatures)


def test_bins_may_be_delegated_to_by_path_hash_prefixes(rehearsal: Rehearsal) -> None:
    """For clients that do not know TAP 15."""
    rehearsal.hold("root", rehearsal.root_text(), "alice", "bob")
    rehearsal.hold("targets", rehearsal.targets_text(), *TARGETS_KEYS)
    rehearsal.hold("bins", rehearsal.bins_text(delegation="path_hash_prefixes"), *BINS_KEYS)
    rehearsal.go_online()
    assert 1 == rehearsal.judge()
    rehearsal.hold("bins", rehearsal.bins_text(delegation="path_hash_prefixes"), *BINS_KEYS)
    rehearsal.go_online()
    assert 1 == rehearsal.judge()


def test_rotation_of_a_root_key_wants_the_old_threshold_and_the_new_one(published: Rehearsal) -> None:
    published.make_key("heidi")
    folder = published.stage("root", published.root_text(("alice", "bob", "heidi"), also=("carol",)))

    published.sign(folder, "alice")
    state = published.status(folder)
    assert ["root 1", "root 2"] == [one["by"] for one in state["thresholds"]]
    assert [False, False] == [one["met"] for one in state["thresholds"]]

    published.sign(folder, "carol")
    state = published.status(folder)
    assert [True, False] == [one["met"] for one in state["thresholds"]]
    assert ["bob", "heidi"] == [one["name"] for one in state["thresholds"][1]["missing"]]
    refusal = published.publish(folder)
    assert 2 == refusal.exit_code
    assert "root 2 wants 2, and 1 of its keys have signed" in refusal.stderr

    published.sign(folder, "heidi")
    assert published.status(folder)["complete"]
    published.require_done(published.publish(folder))
    assert 2 == published.judge()
    assert 2 == published.judge("a client that knows root 1 only")


def test_new_threshold_of_root_is_demanded_beside_the_old_one(published: Rehearsal) -> None:
    folder = published.stage("root", published.root_text(threshold=3))
    published.sign(folder, "alice", "bob")
    assert [True, False] == [one["met"] for one in published.status(folder)["thresholds"]]
    assert "root (offline): 2 of 3 keys -> 3 of 3 keys." in published.status(folder)["changes"]
    assert any("If one is lost" in warning for warning in published.status(folder)["warnings"])
    published.sign(folder, "carol")
    published.require_done(published.publish(folder))
    assert 2 == published.judge()

    # Back again: now three must sign, though two would be enough from then on.
    folder = published.stage("root", published.root_text(threshold=2))
    published.sign(folder, "alice", "bob")
    assert [False, True] == [one["met"] for one in published.status(folder)["thresholds"]]
    published.sign(folder, "carol")
    published.require_done(published.publish(folder))
    assert 3 == published.judge()


def test_online_key_is_changed_with_an_overlap(published: Rehearsal) -> None:
    """Clients verify before, between and after: first both keys are listed, then the new one alone."""
    published.make_key("online-2")
    published.hold("root", published.root_text(online=("online-1", "online-2")), "alice", "carol")
    published.hold("bins", published.bins_text(("online-1", "online-2")), *BINS_KEYS)
    for step, online in enumerate(("online-1", "online-2", "online-1", "online-2")):
        published.go_online(online)
        assert 2 == published.judge()
        assert 2 == published.judge(f"a new client at step {step}")

    folder = published.hold("root", published.root_text(online=("online-2",), also=("online-1",)), "bob", "carol")
    assert any("DROPS online-1" in change for change in published.status(folder)["changes"])
    published.hold("bins", published.bins_text(("online-2",)), *BINS_KEYS)
    published.go_online("online-2")
    assert 3 == published.judge()
    published.go_online("online-1")
    with pytest.raises(UnsignedMetadataError):
        published.judge()


def test_keys_of_targets_and_bins_are_replaced_with_an_overlap(published: Rehearsal) -> None:
    """Their delegators list old and new keys for a time, so that clients verify at each step, whatever they have."""
    for name in ("heidi", "ivan", "judy", "kim"):
        published.make_key(name)

    def step(kind: str, text: str, *signers: str) -> None:
        folder = published.hold(kind, text, *signers)
        published.go_online()
        published.judge()
        published.judge(f"a new client after {folder.name}")

    both = (*TARGETS_KEYS, "heidi", "ivan")
    step("root", published.root_text(targets=both, targets_threshold=2), "alice", "bob")
    both = (*BINS_KEYS, "judy", "kim")
    step("targets", published.targets_text(both, threshold=2, also=("heidi", "ivan")), "heidi", "ivan")
    step("root", published.root_text(targets=("heidi", "ivan")), "alice", "bob")
    step("bins", published.bins_text(also=("judy", "kim")), "judy", "kim")
    step("targets", published.targets_text(("judy", "kim"), also=("heidi", "ivan")), "heidi", "ivan")
    assert 3 == published.judge()


def test_recovery_from_a_compromise_as_pep_458_lists_it(published: Rehearsal) -> None:
    """Keys of timestamp, snapshot, targets and bins are revoked; what the attacker holds is worth nothing then."""
    for name in ("online-2", "heidi", "ivan", "judy", "kim"):
        published.make_key(name)
    stolen = {path.name: path.read_bytes() for path in published.metadata.iterdir()}

    root = published.root_text(targets=("heidi", "ivan"), online=("online-2",))
    folder = published.stage("root", root)
    assert any("hold a ceremony for targets next" in warning for warning in published.status(folder)["warnings"])
    published.sign(folder, "alice", "bob")
    published.require_done(published.publish(folder))

    folder = published.stage("targets", published.targets_text(("judy", "kim"), also=("heidi", "ivan")))
    assert ["root 2"] == [one["by"] for one in published.status(folder)["thresholds"]]
    refusal = published.try_to_sign(folder, published.uri("dave"))
    assert 2 == refusal.exit_code and "holds none of the keys" in refusal.stderr
    published.sign(folder, "heidi", "ivan")
    published.require_done(published.publish(folder))

    published.hold("bins", published.bins_text(("online-2",), also=("judy", "kim")), "judy", "kim")
    published.go_online("online-2")
    assert 2 == published.judge()

    # The attacker shows the former state again, signed anew with the stolen online key.
    published.go_online("online-1")
    with pytest.raises(RepositoryError):
        published.judge()
    assert stolen["1.targets.json"] == (published.metadata / "1.targets.json").read_bytes()


def test_root_that_expired_is_renewed(published: Rehearsal) -> None:
    """That is what the next ceremony is for: clients go on from an expired root, and do not stop at it."""
    expired: Metadata[Any] = Metadata.from_file(str(published.metadata / "1.root.json"))
    expired.signed.expires = datetime.now(UTC) - timedelta(days=1)
    expired.signatures.clear()
    for name in ("alice", "bob"):
        expired.sign(published.signer(name), append=True)
    expired.to_file(str(published.metadata / "1.root.json"))

    expires = (datetime.now(UTC) + timedelta(days=400)).replace(microsecond=0).isoformat()
    folder = published.stage("root", published.root_text(head=f"expires = {expires}"))
    assert any("1.root.json expired at" in warning for warning in published.status(folder)["warnings"])
    published.sign(folder, "alice", "bob")
    published.require_done(published.publish(folder))
    assert expires == published.status(folder)["expires"]
    assert 2 == published.judge("a new client")


def test_signatures_of_several_days_and_machines_are_merged_by_copying_files(published: Rehearsal) -> None:
    folder = published.stage("root", published.root_text(threshold=3))
    copies = [folder.with_name(f"copy-{name}") for name in ROOT_KEYS]
    for name, copy in zip(ROOT_KEYS, copies, strict=True):
        shutil.copytree(folder, copy)
        published.sign(copy, name)
        assert [1, 1] == [len(one["signed"]) for one in published.status(copy)["thresholds"]]
    for copy in copies:
        for file in (copy / "signatures").iterdir():
            shutil.copy(file, folder / "signatures")
    assert published.status(folder)["complete"]
    published.require_done(published.publish(folder))
    assert 2 == published.judge()


def test_folder_without_the_empty_folder_of_signatures_can_be_signed(rehearsal: Rehearsal) -> None:
    """Archives and memory sticks lose empty folders."""
    folder = rehearsal.stage("root", rehearsal.root_text())
    (folder / "signatures").rmdir()
    assert not rehearsal.status(folder)["complete"]
    rehearsal.sign(folder, "alice")
    assert 1 == len(list((folder / "signatures").iterdir()))


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_offline_keys_of_other_kinds_sign_too(rehearsal: Rehearsal, kind: str) -> None:
    rehearsal.make_key("alice", kind)
    rehearsal.hold_first()
    rehearsal.go_online()
    assert 1 == rehearsal.judge()


def test_digest_is_typed_by_a_person(rehearsal: Rehearsal) -> None:
    folder = rehearsal.stage("root", rehearsal.root_text())
    digest = json.loads((folder / "staging.json").read_bytes())["sha256"]
    for typed in ("", "00000000\n", f"{digest}\n", f"{digest[:7]}\n"):
        result = rehearsal.run("root", "sign", folder, "--signer", rehearsal.uri("alice"), typed=typed)
        assert (2, []) == (result.exit_code, list((folder / "signatures").iterdir())), result.output
        assert "Nothing was signed" in result.stderr
    result = rehearsal.run("root", "sign", folder, "--signer", rehearsal.uri("alice"), typed=f"{digest[:8].upper()}\n")
    rehearsal.require_done(result)
    assert "root (offline): 2 of 3 keys." in result.stderr
    assert "Signed by alice" in result.stdout


def test_record_is_plain_ascii_and_names_every_key_and_digest(published: Rehearsal) -> None:
    record = (published.metadata / "1.root.record.txt").read_bytes().decode("ascii")
    plain = record.replace(" ", "")
    for name in (*ROOT_KEYS, *TARGETS_KEYS, "online-1"):
        assert f"\n{name}, ecdsa-sha2-nistp256\n" in record
        assert published.signer(name).public_key.keyid in plain
    assert published.sha256("1.root.json") in plain
    assert "root: 2 of 3 keys, offline" in record and "timestamp: 1 of 1 keys, online" in record
    assert 4 == record.count("Signature: ____")
    assert max(len(line) for line in record.splitlines()) <= 85
