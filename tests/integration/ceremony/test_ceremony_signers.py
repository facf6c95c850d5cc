"""What people sign with: keys on PKCS#11 tokens, on real SoftHSM, and keys in files."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, Key, SecretsHandler, Signature, Signer

from tests.integration.ceremony.rehearsal import Rehearsal, refused
from wharfinger_hsm.model import KeyAlgorithm
from wharfinger_hsm.softhsm import SoftHsmToken, create_token
from wharfinger_hsm.supervisor import HsmSupervisor

PIN = "ceremony-1234"


class People:
    """Keys of people on one SoftHSM token."""

    def __init__(self, token: SoftHsmToken, pin_file: Path) -> None:
        self.token = token
        self.pin_file = pin_file
        self.keys: dict[str, bytes] = {}

    def generate(self, **algorithms: KeyAlgorithm) -> None:
        async def generate() -> None:
            supervisor = HsmSupervisor(self.token.settings(self.pin_file))
            await supervisor.start()
            try:
                for name, algorithm in algorithms.items():
                    self.keys[name] = (await supervisor.generate(algorithm, name)).public_key
            finally:
                await supervisor.close()

        asyncio.run(generate())

    def pem(self, name: str) -> bytes:
        return load_der_public_key(self.keys[name]).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def uri(self, path: str = "token=ceremony", query: str = "") -> str:
        return f"pkcs11:{path}?module-path={self.token.module}{query}"

    @property
    def pin_source(self) -> str:
        return f"&pin-source=file:{self.pin_file}"


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    folder = tmp_path_factory.mktemp("token")
    created = create_token(folder / "softhsm", "ceremony", PIN, "officer-5678")
    (folder / "pin").write_text(f"{PIN}\n")
    (folder / "pin").chmod(0o600)
    people = People(created, folder / "pin")
    algorithms = {
        "alice": KeyAlgorithm.ECDSA_P256,
        "bob": KeyAlgorithm.ED25519,
        "carol": KeyAlgorithm.RSA_PSS_2048,
        "heidi": KeyAlgorithm.ECDSA_P384,
    }
    people.generate(**algorithms)
    yield people


@pytest.fixture
def people(token: People, rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> People:
    """The keys of root are on the token; the module finds it through the environment of the command."""
    for name in token.keys:
        rehearsal.add_public_key(name, token.pem(name))
    monkeypatch.setenv("SOFTHSM2_CONF", str(token.token.configuration))
    return token


def test_every_algorithm_of_a_token_signs_a_root_that_clients_trust(rehearsal: Rehearsal, people: People) -> None:
    text = rehearsal.root_text(tuple(people.keys), threshold=4)
    folder = rehearsal.stage("root", text)
    for name in people.keys:
        uri = people.uri(f"token=ceremony;object={name};type=private", people.pin_source)
        rehearsal.require_done(rehearsal.try_to_sign(folder, uri))
    rehearsal.require_done(rehearsal.publish(folder))
    rehearsal.hold("targets", rehearsal.targets_text(), "dave", "erin")
    rehearsal.hold("bins", rehearsal.bins_text(), "frank", "grace")
    rehearsal.go_online()
    assert 1 == rehearsal.judge()


def test_rotation_on_a_token_wants_old_and_new_keys(rehearsal: Rehearsal, people: People) -> None:
    """Alice hands over to heidi; the key is chosen by --key, because the token holds several."""
    folder = rehearsal.stage("root", rehearsal.root_text(("alice", "bob", "carol")))
    for name in ("alice", "bob"):
        rehearsal.require_done(rehearsal.try_to_sign(folder, people.uri(query=people.pin_source), "--key", name))
    rehearsal.require_done(rehearsal.publish(folder))
    folder = rehearsal.stage("root", rehearsal.root_text(("heidi", "bob", "carol"), also=("alice",)))
    for name in ("alice", "carol", "heidi"):
        rehearsal.require_done(rehearsal.try_to_sign(folder, people.uri(query=people.pin_source), "--key", name))
    rehearsal.require_done(rehearsal.publish(folder))
    rehearsal.hold("targets", rehearsal.targets_text(), "dave", "erin")
    rehearsal.hold("bins", rehearsal.bins_text(), "frank", "grace")
    rehearsal.go_online()
    assert 2 == rehearsal.judge()


def test_key_is_chosen_by_its_id(rehearsal: Rehearsal, people: People) -> None:
    folder = rehearsal.stage("root", rehearsal.root_text(tuple(people.keys)))
    several = rehearsal.try_to_sign(folder, people.uri(query=people.pin_source))
    refused(several, "holds 4 keys that may sign", "--key")
    shown = several.stderr.partition("'bob' (CKA_ID ")[2].partition(")")[0]
    escaped = "".join(f"%{shown[place : place + 2]}" for place in range(0, len(shown), 2))
    uri = people.uri(f"token=ceremony;id={escaped}", people.pin_source)
    rehearsal.require_done(rehearsal.try_to_sign(folder, uri))
    assert ["bob"] == [one["name"] for one in rehearsal.status(folder)["thresholds"][0]["signed"]]
    refused(rehearsal.try_to_sign(folder, uri), "holds no key that is wanted here")


def test_pin_is_asked_for_once_and_leaves_no_file(
    rehearsal: Rehearsal, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(getpass, "getpass", lambda prompt: asked.append(prompt) or PIN)
    folder = rehearsal.stage("root", rehearsal.root_text(tuple(people.keys)))
    before = list(Path("/proc/self/fd").iterdir())
    rehearsal.require_done(rehearsal.try_to_sign(folder, people.uri("token=ceremony;object=alice")))
    assert ["PIN: "] == asked
    assert len(before) == len(list(Path("/proc/self/fd").iterdir()))
    assert [] == [path for path in rehearsal.folder.rglob("*") if path.is_file() and PIN.encode() in path.read_bytes()]


def test_wrong_pin_ends_with_78_and_is_not_tried_again(
    rehearsal: Rehearsal, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(getpass, "getpass", lambda prompt: asked.append(prompt) or "wrong-9999")
    folder = rehearsal.stage("root", rehearsal.root_text(tuple(people.keys)))
    result = rehearsal.try_to_sign(folder, people.uri("token=ceremony;object=alice"))
    assert (78, 1) == (result.exit_code, len(asked))
    assert "The token refused the PIN" in result.stderr
    assert "wrong-9999" not in result.output
    assert [] == list((folder / "signatures").iterdir())


@pytest.mark.parametrize(
    ("path", "query", "told"),
    [
        ("token=ceremony;object=a;object=b", "", "says object twice"),
        ("token=ceremony;object=a b", "", "percent-encoded"),
        ("token=ceremony;object=%ff", "", "not UTF-8"),
        ("token=ceremony;type=public", "", "type must be private"),
        ("object=alice", "", "names no token"),
        ("token=ceremony", "&pin-value=1234", "pin-value"),
        ("token=elsewhere", "&pin-source=file:/dev/null", "shows no token with label 'elsewhere'"),
    ],
)
def test_uri_that_leads_nowhere_is_refused(
    rehearsal: Rehearsal, people: People, path: str, query: str, told: str
) -> None:
    folder = rehearsal.stage("root", rehearsal.root_text(tuple(people.keys)))
    if "elsewhere" in path:
        query = people.pin_source
    result = rehearsal.try_to_sign(folder, people.uri(path, query))
    refused(result, told)
    assert "1234" not in result.output


def test_uri_without_a_module_is_refused(rehearsal: Rehearsal) -> None:
    folder = rehearsal.stage("root", rehearsal.root_text())
    refused(rehearsal.try_to_sign(folder, "pkcs11:token=ceremony"), "needs module-path")


def test_pin_is_typed_on_a_terminal_without_echo(rehearsal: Rehearsal, people: People) -> None:
    """The whole program on a pseudo-terminal, as a person has it: digest first, then the PIN, which is not shown."""
    folder = rehearsal.stage("root", rehearsal.root_text(tuple(people.keys)))
    digest = json.loads((folder / "staging.json").read_bytes())["sha256"]
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "wharfinger_daemon", "root", "sign", str(folder)]
    command += ["--signer", people.uri("token=ceremony;object=alice")]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    with process, os.fdopen(ours, "rb+", buffering=0) as terminal:
        said = _converse(terminal.fileno(), [(b"digits to sign:", digest[:8]), (b"PIN:", PIN)])
        assert 0 == process.wait(60), said.decode()
    assert PIN.encode() not in said
    assert b"Signed by alice" in said


def _converse(terminal: int, answers: list[tuple[bytes, str]]) -> bytes:
    said, answered = b"", 0
    while True:
        ready, _, _ = select.select([terminal], [], [], 60)
        assert ready, said
        try:
            said += os.read(terminal, 4096)
        except OSError:  # EIO: the program closed its side.
            return said
        if answers and answers[0][0] in said[answered:]:
            answered = len(said)
            os.write(terminal, answers.pop(0)[1].encode() + b"\n")


# ---- Keys in files ---------------------------------------------------------------------------------------------------
@pytest.fixture
def encrypted(rehearsal: Rehearsal) -> str:
    """A file: URI of alice's key, which a passphrase protects."""
    key = load_pem_private_key((rehearsal.folder / "alice.key").read_bytes(), None)
    protected = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"correct horse"))
    (rehearsal.folder / "alice.protected").write_bytes(protected)
    return f"file:{rehearsal.folder / 'alice.protected'}"


def test_passphrase_of_a_file_is_asked_for(
    rehearsal: Rehearsal, encrypted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = rehearsal.stage("root", rehearsal.root_text())
    monkeypatch.setattr(getpass, "getpass", lambda prompt: "wrong")
    refused(rehearsal.try_to_sign(folder, encrypted), "the passphrase is wrong")
    monkeypatch.setattr(getpass, "getpass", lambda prompt: "correct horse")
    rehearsal.require_done(rehearsal.try_to_sign(folder, encrypted))


def test_file_without_a_private_key_is_refused(rehearsal: Rehearsal) -> None:
    folder = rehearsal.stage("root", rehearsal.root_text())
    refused(rehearsal.try_to_sign(folder, f"file:{rehearsal.folder}/none"), "cannot be read: No such file")
    refused(rehearsal.try_to_sign(folder, f"file:{rehearsal.folder}/alice.pem"), "holds no private key in PEM")


@pytest.mark.parametrize("uri", ["nothing:here", "hsm:2?label=token", "no scheme at all"])
def test_signer_of_unknown_or_unfit_scheme_is_refused(rehearsal: Rehearsal, uri: str) -> None:
    folder = rehearsal.stage("root", rehearsal.root_text())
    refused(rehearsal.try_to_sign(folder, uri, "--key", "alice"))


def test_cloud_signer_whose_library_is_missing_says_so(rehearsal: Rehearsal) -> None:
    folder = rehearsal.stage("root", rehearsal.root_text())
    refused(rehearsal.try_to_sign(folder, "awskms:alias/key", "--key", "alice"), "The signer of awskms: failed")


class _AskingSigner(Signer):
    """A signer of somebody else, which asks for a secret and then fails, quoting it."""

    @property
    def public_key(self) -> Key:
        raise NotImplementedError

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: SecretsHandler | None = None
    ) -> _AskingSigner:
        assert secrets_handler is not None
        raise ValueError(f"{secrets_handler('token')} is wrong")

    def sign(self, payload: bytes) -> Signature:
        raise NotImplementedError


def test_signer_that_was_told_a_secret_is_not_quoted(rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "asking", _AskingSigner)
    monkeypatch.setattr(getpass, "getpass", lambda prompt: "hush-hush")
    folder = rehearsal.stage("root", rehearsal.root_text())
    result = rehearsal.try_to_sign(folder, "asking:me", "--key", "alice")
    refused(result, "The signer of asking: failed (ValueError).")
    assert "hush-hush" not in result.output
