"""Folders, files and signers that are not what they should be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, Key, SecretsHandler, Signature, Signer
from tuf.api.metadata import Metadata, TargetFile

from tests.integration.ceremony.rehearsal import BINS_KEYS, TARGETS_KEYS, Rehearsal, refused

CONTENT = "staged.canonical-json"


@pytest.fixture
def held(rehearsal: Rehearsal) -> Rehearsal:
    """After the first ceremonies."""
    rehearsal.hold_first()
    return rehearsal


def refuses_to_stage(rehearsal: Rehearsal, kind: str, text: str, *told: str) -> None:
    output = rehearsal.folder / "refused"
    refused(rehearsal.run(kind, "stage", rehearsal.write(text), "--output", output), *told)
    assert not output.exists()


# ---- The ceremony file -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text + "treshold = 2\n", "timestamp.treshold: there is no such key"),
        (lambda text: text.replace("threshold = 2", 'threshold = "2"', 1), "root.threshold: Input should be a valid"),
        (lambda text: text.replace("threshold = 2", "threshold = true", 1), "root.threshold: Input should be a valid"),
        (lambda text: text.replace("threshold = 2", "threshold = 4", 1), "wants 4 signatures and has 3 keys"),
        (lambda text: text.replace("threshold = 2", "threshold = 0", 1), "root.threshold"),
        (lambda text: text.replace('"alice", "bob"', '"alice", "alice"'), "names the key 'alice' twice"),
        (lambda text: text.replace('"alice", "bob"', '"alice", "mallory"'), "has none of that name"),
        (lambda text: text.replace('name = "alice"', 'name = "al\u0456ce"'), "ASCII"),
        (lambda text: text.replace('name = "alice"', 'name = "bob"'), "Two keys are called 'bob'"),
        (
            lambda text: text.replace('public_key = "alice.pem"', 'public_key = "bob.pem"'),
            "Two names are given to one key",
        ),
        (lambda text: text.replace('public_key = "alice.pem"', 'public_key = "alice.key"'), "it is a private key"),
        (lambda text: text.replace('public_key = "alice.pem"', 'public_key = "none.pem"'), "cannot be read"),
        (
            lambda text: text.replace('public_key = "alice.pem"', f'public_key = "alice.pem"\nkeyid = "{"0" * 64}"'),
            "keyid",
        ),
        (
            lambda text: text.replace('public_key = "alice.pem"', 'public_key = "alice.pem"\nscheme = "ed25519"'),
            "scheme",
        ),
        (lambda text: text.replace("lifetime_days = 365", ""), "either expires or lifetime_days"),
        (lambda text: text.replace("lifetime_days = 365", "expires = 2020-01-01T00:00:00Z"), "would have expired"),
        (lambda text: text.replace("lifetime_days = 365", "expires = 2520-01-01T00:00:00Z"), "more than ten years"),
        (lambda text: text.replace("lifetime_days = 365", "expires = 2030-01-01T00:00:00"), "with a time zone"),
        (lambda text: text.replace('kind = "root"', 'kind = "snapshot"'), "needs a kind"),
        (lambda text: text.replace('kind = "root"', 'kind = "targets"'), "there is no such key in a ceremony of this"),
        (lambda text: text.replace("[root]", "[root"), "is not TOML"),
        (lambda text: text.replace('["online-1"]', '["alice"]', 1), "to sign both 'root' and 'snapshot'"),
    ],
)
def test_ceremony_file_with_a_slip_is_refused(rehearsal: Rehearsal, change: Callable[[str], str], told: str) -> None:
    text = rehearsal.root_text()
    assert change(text) != text
    refuses_to_stage(rehearsal, "root", change(text), told)


def test_key_that_is_of_no_use_is_refused(rehearsal: Rehearsal) -> None:
    rehearsal.make_key("mallory")
    refuses_to_stage(rehearsal, "root", rehearsal.root_text(also=("mallory",)), "The key 'mallory' is in no role")


def test_ceremony_of_another_kind_than_the_command_is_refused(rehearsal: Rehearsal) -> None:
    refuses_to_stage(rehearsal, "targets", rehearsal.root_text(), "use 'wharfinger root'")


# ---- The chain -------------------------------------------------------------------------------------------------------
def test_wrong_digest_of_the_former_version_is_refused(held: Rehearsal) -> None:
    text = held.root_text().replace("previous_sha256 = ", "previous_sha256 = '" + "0" * 64 + "' #")
    refuses_to_stage(held, "root", text, "1.root.json is the newest that is there", held.sha256("1.root.json"))


def test_former_version_that_is_not_named_is_refused(held: Rehearsal) -> None:
    refuses_to_stage(held, "root", held.root_text().replace("previous_sha256", "#"), "there already")


def test_former_version_that_is_not_there_is_refused(held: Rehearsal) -> None:
    text = held.bins_text()
    (held.metadata / "1.bins.json").unlink()
    refuses_to_stage(held, "bins", text, "There is no former version of bins")


def test_root_that_is_not_the_trusted_one_is_refused(held: Rehearsal) -> None:
    text = held.root_text().replace("root_sha256 = ", "root_sha256 = '" + "0" * 64 + "' #")
    refuses_to_stage(held, "root", text, "1.root.json is not the trusted root")


def test_chain_with_a_gap_is_refused(held: Rehearsal) -> None:
    for _ in range(2):
        held.hold("root", held.root_text(), "alice", "bob")
    text = held.root_text()
    (held.metadata / "2.root.json").unlink()
    refuses_to_stage(held, "root", text, "2.root.json is missing, and 3.root.json is there")


def test_next_root_that_the_former_keys_did_not_sign_is_refused(held: Rehearsal) -> None:
    """Somebody put a root of their own into the folder."""
    forged: Metadata[Any] = Metadata.from_file(str(held.metadata / "1.root.json"))
    forged.signed.version = 2
    forged.signatures.clear()
    forged.sign(held.signer("alice"), append=True)
    forged.to_file(str(held.metadata / "2.root.json"))
    refuses_to_stage(held, "root", held.root_text(), "2.root.json is not signed by enough of the keys that 1.root.json")


def test_targets_under_an_expired_root_are_refused(held: Rehearsal) -> None:
    expired: Metadata[Any] = Metadata.from_file(str(held.metadata / "1.root.json"))
    expired.signed.expires = datetime.now(UTC) - timedelta(days=1)
    expired.signatures.clear()
    for name in ("alice", "bob"):
        expired.sign(held.signer(name), append=True)
    expired.to_file(str(held.metadata / "1.root.json"))
    refuses_to_stage(held, "targets", held.targets_text(), "1.root.json says who signs targets, and expired at")


def test_former_targets_that_say_more_are_not_replaced_silently(held: Rehearsal) -> None:
    listing: Metadata[Any] = Metadata.from_file(str(held.metadata / "1.targets.json"))
    listing.signed.targets["extra"] = TargetFile.from_data("extra", b"extra")
    listing.signatures.clear()
    for name in TARGETS_KEYS:
        listing.sign(held.signer(name), append=True)
    listing.to_file(str(held.metadata / "1.targets.json"))
    refuses_to_stage(held, "targets", held.targets_text(), "1.targets.json lists 1 targets itself")


def test_link_in_the_folder_of_metadata_is_refused(held: Rehearsal) -> None:
    (held.metadata / "1.root.json").rename(held.folder / "elsewhere.json")
    (held.metadata / "1.root.json").symlink_to(held.folder / "elsewhere.json")
    refuses_to_stage(held, "root", held.root_text(), "1.root.json is a link")


def test_online_key_of_root_cannot_sign_bins_offline(held: Rehearsal) -> None:
    refuses_to_stage(held, "targets", held.targets_text(("frank", "online-1")), "to sign both 'bins' and 'bins-*'")


def test_offline_key_of_targets_cannot_be_an_online_key_of_the_bins(held: Rehearsal) -> None:
    text = held.bins_text(("frank",), also=("grace",))
    refuses_to_stage(held, "bins", text, "to sign both 'bins' and 'bins-*'")


# ---- The staged folder -----------------------------------------------------------------------------------------------
def test_folder_is_never_overwritten(rehearsal: Rehearsal) -> None:
    (rehearsal.folder / "mine").mkdir()
    file = rehearsal.write(rehearsal.root_text())
    refused(rehearsal.run("root", "stage", file, "--output", rehearsal.folder / "mine"), "exists already")
    (rehearsal.folder / "link").symlink_to(rehearsal.folder / "nowhere")
    refused(rehearsal.run("root", "stage", file, "--output", rehearsal.folder / "link"), "exists already")
    assert [] == list((rehearsal.folder / "mine").iterdir())
    assert not (rehearsal.folder / "nowhere").exists()


def test_staged_file_that_was_changed_is_not_signed(held: Rehearsal) -> None:
    folder = held.stage("root", held.root_text())
    content = (folder / CONTENT).read_bytes()
    (folder / CONTENT).write_bytes(content.replace(b'"threshold":2', b'"threshold":1', 1))
    refused(held.try_to_sign(folder, held.uri("alice")), "was changed since it was staged")
    refused(held.run("root", "status", folder), "was changed since it was staged")
    refused(held.publish(folder), "was changed since it was staged")


def test_chain_that_was_changed_in_the_folder_is_noticed(held: Rehearsal) -> None:
    folder = held.stage("targets", held.targets_text())
    root = folder / "trust" / "1.root.json"
    root.write_bytes(
        root.read_bytes().replace(b'"threshold": 2', b'"threshold": 1').replace(b'"threshold":2', b'"threshold":1')
    )
    refused(held.try_to_sign(folder, held.uri("dave")), "1.root.json is not the trusted root")


def test_folder_of_another_repository_is_noticed_by_who_knows_the_root(held: Rehearsal) -> None:
    """Whoever carries the folder can change all of it together, but not the digest that the signer knows."""
    folder = held.stage("root", held.root_text())
    refused(held.try_to_sign(folder, held.uri("alice"), "--trusted-root", "0" * 64), "The trusted root of this folder")
    held.require_done(held.try_to_sign(folder, held.uri("alice"), "--trusted-root", held.sha256("1.root.json")))


def test_wrong_digest_is_not_confirmed(held: Rehearsal) -> None:
    folder = held.stage("root", held.root_text())
    result = held.run("root", "sign", folder, "--signer", held.uri("alice"), "--yes-digest", "0" * 64)
    refused(result, "Nothing was signed")
    assert [] == list((folder / "signatures").iterdir())


@pytest.mark.parametrize("name", [CONTENT, "staging.json", "trust/1.root.json"])
def test_part_of_a_folder_is_not_enough(held: Rehearsal, name: str) -> None:
    folder = held.stage("root", held.root_text())
    (folder / name).unlink()
    refused(held.run("root", "status", folder), name.rpartition("/")[2], "missing" if "/" in name else "has no")


@pytest.mark.parametrize("name", [CONTENT, "staging.json", "trust/1.root.json", "trust", "signatures"])
def test_links_in_a_folder_are_not_followed(held: Rehearsal, name: str) -> None:
    folder = held.stage("root", held.root_text())
    held.sign(folder, "alice")
    (folder / name).rename(held.folder / "elsewhere")
    (folder / name).symlink_to(held.folder / "elsewhere")
    refused(held.run("root", "sign", folder, "--signer", held.uri("bob")), "is a link")


def test_signature_is_not_written_through_a_link(rehearsal: Rehearsal) -> None:
    folder = rehearsal.stage("root", rehearsal.root_text())
    (folder / "signatures").rmdir()
    (rehearsal.folder / "elsewhere").mkdir()
    (folder / "signatures").symlink_to(rehearsal.folder / "elsewhere")
    refused(rehearsal.try_to_sign(folder, rehearsal.uri("alice")), "is a link")
    assert [] == list((rehearsal.folder / "elsewhere").iterdir())


# ---- Signers ---------------------------------------------------------------------------------------------------------
def test_key_that_is_not_listed_may_not_sign(held: Rehearsal) -> None:
    held.make_key("mallory")
    folder = held.stage("root", held.root_text())
    refused(held.try_to_sign(folder, held.uri("mallory")), "holds none of the keys")
    refused(held.try_to_sign(folder, held.uri("mallory"), "--key", "mallory"), "No key is called 'mallory'")
    refused(held.try_to_sign(folder, held.uri("dave"), "--key", "dave"), "dave", "may not sign 2.root.json")


def test_one_key_signs_once(held: Rehearsal) -> None:
    folder = held.stage("root", held.root_text())
    held.sign(folder, "alice")
    before = {file.name: file.read_bytes() for file in (folder / "signatures").iterdir()}
    refused(held.try_to_sign(folder, held.uri("alice")), "holds none of the keys")
    refused(held.try_to_sign(folder, held.uri("alice"), "--key", "alice"), "has signed already")
    held.sign(folder, "bob", "carol")
    refused(held.try_to_sign(folder, held.uri("alice")), "Every key that may sign has signed already")
    assert before.items() <= {file.name: file.read_bytes() for file in (folder / "signatures").iterdir()}.items()


def test_file_in_the_place_of_a_signature_is_not_overwritten(held: Rehearsal) -> None:
    folder = held.stage("root", held.root_text())
    file = folder / "signatures" / f"{held.signer('alice').public_key.keyid}.json"
    file.write_text("{")
    refused(held.try_to_sign(folder, held.uri("alice")), "exists already")
    assert "{" == file.read_text()
    assert "no whole signature file" in held.status(folder)["problems"][0]


class _WrongSigner(Signer):
    """Signs other bytes than it is given."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    @property
    def public_key(self) -> Key:
        return self._signer.public_key

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: SecretsHandler | None = None
    ) -> _WrongSigner:
        return cls(Signer.from_priv_key_uri(priv_key_uri.replace("wrong:", "file2:"), public_key))

    def sign(self, payload: bytes) -> Signature:
        return self._signer.sign(payload + b" ")


def test_wrong_signature_of_a_signer_is_not_kept(held: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "wrong", _WrongSigner)
    folder = held.stage("root", held.root_text())
    uri = held.uri("alice").replace("file2:", "wrong:")
    refused(held.try_to_sign(folder, uri), "Name it with --key")
    refused(held.try_to_sign(folder, uri, "--key", "alice"), "The signer returned a wrong signature")
    refused(held.try_to_sign(folder, uri, "--key", "bob"), "The signer of wrong: failed", "KeyMismatchError")
    assert [] == list((folder / "signatures").iterdir())


# ---- Signatures ------------------------------------------------------------------------------------------------------
def test_signature_of_another_ceremony_does_not_count(held: Rehearsal) -> None:
    folders = [held.stage("root", held.root_text()), held.stage("root", held.root_text(threshold=3))]
    held.sign(folders[0], "alice", "bob")
    for file in (folders[0] / "signatures").iterdir():
        shutil.copy(file, folders[1] / "signatures")
    state = held.status(folders[1])
    assert [0, 0] == [len(one["signed"]) for one in state["thresholds"]]
    assert 2 == len(state["problems"])
    assert "is a signature of something else" in state["problems"][0]
    refused(held.publish(folders[1]), "Not every file in signatures/ is a signature")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda file: {**file, "sig": "00" + file["sig"][2:]}, "is no signature of 2.root.json by alice"),
        (lambda file: {**file, "sig": file["sig"].upper()}, "not in hexadecimal"),
        (lambda file: {**file, "keyid": "0" * 64}, "not of a key that may sign"),
        (lambda file: {**file, "more": 1}, "no whole signature file"),
    ],
)
def test_forged_signature_does_not_count(
    held: Rehearsal, change: Callable[[dict[str, Any]], dict[str, Any]], told: str
) -> None:
    folder = held.stage("root", held.root_text())
    held.sign(folder, "alice", "bob")
    file = folder / "signatures" / f"{held.signer('alice').public_key.keyid}.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    state = held.status(folder)
    assert told in state["problems"][0]
    assert not state["complete"]
    refused(held.publish(folder), told)


def test_signature_under_another_keys_name_does_not_count(held: Rehearsal) -> None:
    folder = held.stage("root", held.root_text())
    held.sign(folder, "alice")
    (file,) = (folder / "signatures").iterdir()
    shutil.copy(file, file.with_name(f"{held.signer('bob').public_key.keyid}.json"))
    state = held.status(folder)
    assert [1, 1] == [len(one["signed"]) for one in state["thresholds"]]
    assert 1 == len(state["problems"])


# ---- Publishing ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["2.root.json", "2.root.record.txt"])
def test_publishing_overwrites_nothing_and_leaves_nothing_half_done(held: Rehearsal, name: str) -> None:
    folder = held.stage("root", held.root_text())
    held.sign(folder, "alice", "bob")
    (held.metadata / name).write_text("mine")
    before = {path.name for path in held.metadata.iterdir()}
    refused(held.publish(folder), f"{name} exists already")
    assert "mine" == (held.metadata / name).read_text()
    assert before == {path.name for path in held.metadata.iterdir()}


def test_publishing_wants_the_threshold(held: Rehearsal) -> None:
    folder = held.stage("bins", held.bins_text())
    held.sign(folder, BINS_KEYS[0])
    refused(held.publish(folder), "targets 1 wants 2, and 1 of its keys have signed. Missing are grace")


def test_folder_and_command_must_be_of_one_kind(held: Rehearsal) -> None:
    folder = held.stage("bins", held.bins_text())
    refused(held.run("root", "status", folder), "use 'wharfinger bins'")
    refused(held.run("targets", "publish", folder, "--output", held.metadata), "use 'wharfinger bins'")


def test_terminal_is_not_reached_by_what_metadata_says(held: Rehearsal) -> None:
    """A record whose names move the cursor is refused, and not shown."""
    folder = held.stage("root", held.root_text())
    record = json.loads((folder / "staging.json").read_text())
    record["names"] = {keyid: f"\x1b[2J{name}" for keyid, name in record["names"].items()}
    (folder / "staging.json").write_text(json.dumps(record))
    result = held.run("root", "status", folder)
    refused(result, "names that are not plain")
    assert "\x1b" not in result.output


def test_folders_outside_are_left_alone(held: Rehearsal, tmp_path: Path) -> None:
    """Files that a memory stick collects by itself do no harm."""
    folder = held.stage("root", held.root_text())
    (folder / ".DS_Store").write_bytes(b"\0")
    (folder / "signatures" / "._hidden.json").write_bytes(b"\0")
    (folder / "trust" / "notes.txt").write_text("read me")
    held.sign(folder, "alice", "bob")
    held.require_done(held.publish(folder))
