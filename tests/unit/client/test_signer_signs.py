"""WharfingerSigner in front of a daemon that answers as told: what is sent, what is verified, what is raised."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from securesystemslib.exceptions import UnsupportedLibraryError, UnverifiedSignatureError
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, Key, Signature, Signer, SSlibKey
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata, Timestamp

from tests.unit.client.fake_daemon import Abort, Authority, FakeDaemon
from tests.unit.client.signing_token import SCHEMES, SigningToken
from wharfinger.signing.v1 import signing_pb2
from wharfinger_client import (
    Client,
    ClientSettings,
    NotGrantedError,
    RefusedError,
    RetryPolicy,
    ServerError,
    SettingsError,
    UnavailableError,
)
from wharfinger_client.signer import WharfingerSigner, register

PAYLOAD = b'{"_type":"timestamp"}'
VARIABLES = ("ADDRESS", "CA", "CERTIFICATE", "KEY", "SERVER_NAME")


@pytest.fixture(scope="module")
def token() -> SigningToken:
    return SigningToken("ecdsa-sha2-nistp256")


@pytest.fixture
def folder(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The caller's TLS files, and an environment that says nothing."""
    for name in VARIABLES:
        monkeypatch.delenv(f"WHARFINGER_{name}", raising=False)
    certificate, key = authority.identity()
    for name, content in (("ca", authority.ca), ("crt", certificate), ("key", key)):
        (tmp_path / name).write_bytes(content)
    return tmp_path


def _say(monkeypatch: pytest.MonkeyPatch, daemon: FakeDaemon, folder: Path) -> None:
    """Says in the environment how to reach the daemon."""
    for name, value in zip(VARIABLES, (daemon.address, folder / "ca", folder / "crt", folder / "key"), strict=False):
        monkeypatch.setenv(f"WHARFINGER_{name}", str(value))


@pytest.fixture
def connection(daemon: FakeDaemon, folder: Path) -> str:
    """The part of the URI that says how to reach the daemon."""
    return f"address={daemon.address}&ca={folder}/ca&certificate={folder}/crt&key={folder}/key"


@pytest.fixture
def signer(daemon: FakeDaemon, token: SigningToken, settings: ClientSettings) -> Iterator[WharfingerSigner]:
    token.serve(daemon)
    with WharfingerSigner(Client(settings), "pypi", token.public_key) as signer:
        yield signer


@pytest.fixture
def registered() -> Iterator[None]:
    register()
    yield
    del SIGNER_FOR_URI_SCHEME["wharfinger"]


# ---- Signing ---------------------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_registered_uri_signs_with_every_kind_of_key(scheme: str, daemon: FakeDaemon, connection: str) -> None:
    token = SigningToken(scheme)
    token.serve(daemon)
    uri = f"wharfinger:pypi/{token.keyid}?role=bins-0a&{connection}"

    signer = Signer.from_priv_key_uri(uri, token.public_key)
    signature = signer.sign(PAYLOAD)

    assert isinstance(signer, WharfingerSigner)
    assert token.public_key is signer.public_key
    assert token.keyid == signature.keyid
    token.public_key.verify_signature(signature, PAYLOAD)
    (item,) = daemon.received[0].messages[0].items
    sent = item.tuf_metadata
    assert ("pypi", "bins-0a", PAYLOAD, token.keyid) == (sent.repository, sent.role, sent.signed, item.keyid)
    signer.close()


def test_a_uri_without_a_connection_uses_that_of_the_environment(
    daemon: FakeDaemon, token: SigningToken, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some tools keep the URI in the metadata, which is public: no address and no path belongs there. RSTUF is one of
    them, and it hides the environment while it makes its signers."""
    token.serve(daemon)
    with WharfingerSigner.from_priv_key_uri(f"wharfinger:pypi/{token.keyid}", token.public_key) as signer:
        _say(monkeypatch, daemon, folder)
        assert token.keyid == signer.sign(PAYLOAD).keyid
    assert "" == daemon.received[0].messages[0].items[0].tuf_metadata.role


def test_python_tuf_signs_with_it(signer: WharfingerSigner, token: SigningToken) -> None:
    metadata = Metadata(Timestamp(expires=datetime(2030, 1, 1, tzinfo=UTC)))
    metadata.sign(signer)
    assert [token.keyid] == list(metadata.signatures)
    token.public_key.verify_signature(metadata.signatures[token.keyid], metadata.signed_bytes)


def test_signers_for_other_roles_share_the_connection(
    daemon: FakeDaemon, token: SigningToken, connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository has thousands of bins."""
    token.serve(daemon)
    opened: list[str] = []

    def options(settings: ClientSettings) -> list[tuple[str, str | int]]:
        opened.append(settings.address)
        return []

    monkeypatch.setattr("wharfinger_client._channel.options", options)
    with WharfingerSigner.from_priv_key_uri(f"wharfinger:pypi/{token.keyid}?{connection}", token.public_key) as signer:
        for role in ("bins-0a", "bins-0b"):
            assert token.public_key is signer.for_role(role).public_key
            signer.for_role(role).sign(PAYLOAD)
    assert ["bins-0a", "bins-0b"] == [one.messages[0].items[0].tuf_metadata.role for one in daemon.received]
    assert [daemon.address] == opened


@pytest.mark.parametrize("before", ["the first signature", "the second signature", "any, with its own client"])
def test_a_closed_signer_says_so(
    before: str, daemon: FakeDaemon, token: SigningToken, signer: WharfingerSigner, connection: str
) -> None:
    if before != "any, with its own client":
        signer = WharfingerSigner.from_priv_key_uri(f"wharfinger:pypi/{token.keyid}?{connection}", token.public_key)
    if before == "the second signature":
        signer.sign(PAYLOAD)
    signer.close()
    with pytest.raises(RuntimeError, match="The client is closed"):
        signer.for_role("bins-0a").sign(PAYLOAD)


def test_a_signer_that_nobody_closes_ends_with_its_last_reference(
    daemon: FakeDaemon, token: SigningToken, connection: str
) -> None:
    """The interface of securesystemslib has no ``close``, so that tools written against it do not call it."""
    token.serve(daemon)
    for _ in range(3):
        signer = WharfingerSigner.from_priv_key_uri(f"wharfinger:pypi/{token.keyid}?{connection}", token.public_key)
        signer.sign(PAYLOAD)
        del signer


# ---- What the daemon must not get away with --------------------------------------------------------------------------
def _answer(daemon: FakeDaemon, keyid: str, signature: bytes) -> None:
    made = signing_pb2.Signature(keyid=keyid, signature=signature, role="timestamp", version=7)
    daemon.script.set("Sign", signing_pb2.SignResponse(signatures=[made]))


@pytest.mark.parametrize("signature", [b"", b"\x00" * 70, b"other bytes"])
def test_a_signature_that_does_not_verify_is_not_returned(
    signature: bytes, daemon: FakeDaemon, signer: WharfingerSigner, token: SigningToken
) -> None:
    _answer(daemon, token.keyid, token.sign(b"other bytes") if signature == b"other bytes" else signature)
    with pytest.raises(UnverifiedSignatureError, match="version 7 of 'timestamp' in repository 'pypi' does not verify"):
        signer.sign(PAYLOAD)


def test_a_signature_of_another_key_is_not_returned(daemon: FakeDaemon, signer: WharfingerSigner) -> None:
    other = SigningToken("ecdsa-sha2-nistp256")
    _answer(daemon, other.keyid, other.sign(PAYLOAD))
    with pytest.raises(ServerError, match=f"and did with {other.keyid}"):
        signer.sign(PAYLOAD)


# ---- What the daemon refuses -----------------------------------------------------------------------------------------
def test_a_refusal_keeps_its_class_and_its_reason(daemon: FakeDaemon, signer: WharfingerSigner) -> None:
    info = error_details_pb2.ErrorInfo(reason="VERSION_EQUIVOCATION", domain="wharfinger", metadata={"version": "7"})
    words = "Version 7 of 'timestamp' was used for other bytes. Use a higher version."
    daemon.script.set("Sign", Abort(grpc.StatusCode.FAILED_PRECONDITION, words, (info,)))
    with pytest.raises(RefusedError) as caught:
        signer.sign(PAYLOAD)
    assert ("VERSION_EQUIVOCATION", "7") == (caught.value.reason, caught.value.metadata["version"])


def test_python_tuf_shows_the_words_of_a_refusal_and_keeps_it_as_the_cause(
    daemon: FakeDaemon, signer: WharfingerSigner
) -> None:
    daemon.script.set("Sign", Abort(grpc.StatusCode.PERMISSION_DENIED, "The caller may not sign 'timestamp'."))
    metadata = Metadata(Timestamp(expires=datetime(2030, 1, 1, tzinfo=UTC)))
    with pytest.raises(UnsignedMetadataError, match="may not sign 'timestamp'") as caught:
        metadata.sign(signer)
    assert isinstance(caught.value.__cause__, NotGrantedError)


def test_a_daemon_that_is_down_is_unavailable(token: SigningToken, settings: ClientSettings) -> None:
    nobody = ClientSettings("127.0.0.1:1", settings.tls, retry=RetryPolicy(max_attempts=1))
    with WharfingerSigner(Client(nobody), "pypi", token.public_key) as signer:
        with pytest.raises(UnavailableError, match=r"No connection to the daemon at 127\.0\.0\.1:1"):
            signer.sign(PAYLOAD)


def test_a_missing_tls_file_is_told_at_the_first_signature(token: SigningToken, connection: str) -> None:
    uri = f"wharfinger:pypi/{token.keyid}?{connection}".replace("/crt", "/absent")
    with WharfingerSigner.from_priv_key_uri(uri, token.public_key) as signer:
        with pytest.raises(SettingsError, match="caller's certificate cannot be read"):
            signer.sign(PAYLOAD)


# ---- What is refused before anything is signed -----------------------------------------------------------------------
def test_the_public_key_must_be_the_one_that_the_uri_names(token: SigningToken, connection: str) -> None:
    with pytest.raises(ValueError, match="names another key than the public key that came with it"):
        WharfingerSigner.from_priv_key_uri(f"wharfinger:pypi/4e?{connection}", token.public_key)


def test_a_malformed_uri_is_an_incorrect_argument(token: SigningToken) -> None:
    with pytest.raises(ValueError, match="does not name a repository and a key"):
        WharfingerSigner.from_priv_key_uri("wharfinger:pypi", token.public_key)


@pytest.mark.usefixtures("folder")
def test_a_connection_that_is_said_nowhere_is_told_before_anything_is_sent(token: SigningToken) -> None:
    with WharfingerSigner.from_priv_key_uri(f"wharfinger:pypi/{token.keyid}", token.public_key) as signer:
        with pytest.raises(SettingsError, match="set WHARFINGER_ADDRESS"):
            signer.sign(PAYLOAD)
    with pytest.raises(SettingsError, match="set WHARFINGER_ADDRESS"):
        WharfingerSigner.import_("pypi")


class CredulousKey(SSlibKey):
    """Verifies everything."""

    def verify_signature(self, signature: Signature, data: bytes) -> None:
        pass


def _damaged(key: Key) -> Key:
    return SSlibKey(key.keyid, key.keytype, key.scheme, {"public": "no PEM"})


def _unknown(key: Key) -> Key:
    return SSlibKey(key.keyid, key.keytype, "ecdsa-sha2-nistp999", key.keyval)


def _credulous(key: Key) -> Key:
    return CredulousKey(key.keyid, key.keytype, key.scheme, key.keyval)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_damaged, "cannot verify signatures"),
        (_unknown, "cannot verify signatures: Unsupported public key ecdsa/ecdsa-sha2-nistp999"),
        (_credulous, "takes anything for a signature"),
    ],
)
def test_a_public_key_that_cannot_tell_a_signature_is_refused(
    spoil: Callable[[Key], Key], why: str, token: SigningToken, connection: str
) -> None:
    with pytest.raises(ValueError, match=why):
        WharfingerSigner.from_priv_key_uri(f"wharfinger:pypi/{token.keyid}?{connection}", spoil(token.public_key))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_without_the_library_cryptography_only_ed25519_signs(
    scheme: str, daemon: FakeDaemon, connection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = SigningToken(scheme)
    token.serve(daemon)
    uri = f"wharfinger:pypi/{token.keyid}?{connection}"
    monkeypatch.setattr("securesystemslib.signer._key.CRYPTO_IMPORT_ERROR", "'pyca/cryptography' library required")
    if scheme != "ed25519":
        with pytest.raises(UnsupportedLibraryError, match=r'Install "wharfinger\[signer\]"'):
            WharfingerSigner.from_priv_key_uri(uri, token.public_key)
        return
    with WharfingerSigner.from_priv_key_uri(uri, token.public_key) as signer:
        assert token.keyid == signer.sign(PAYLOAD).keyid


# ---- Import ----------------------------------------------------------------------------------------------------------
def _import(daemon: FakeDaemon, folder: Path, keyid: str = "", *, role: str = "") -> tuple[str, Key]:
    return WharfingerSigner.import_(
        "pypi",
        keyid,
        role=role,
        address=daemon.address,
        ca=f"{folder}/ca",
        certificate=f"{folder}/crt",
        key=f"{folder}/key",
    )


@pytest.mark.parametrize("scheme", SCHEMES)
def test_import_gives_a_uri_and_a_public_key_that_sign(scheme: str, daemon: FakeDaemon, folder: Path) -> None:
    token = SigningToken(scheme)
    token.serve(daemon)

    uri, public_key = _import(daemon, folder, role="bins-0a")

    assert token.public_key == public_key
    assert uri.startswith(f"wharfinger:pypi/{token.keyid}?role=bins-0a&address=127.0.0.1:")
    with WharfingerSigner.from_priv_key_uri(uri, public_key) as signer:
        assert token.keyid == signer.sign(PAYLOAD).keyid


def test_import_writes_nothing_of_the_environment_into_the_uri(
    daemon: FakeDaemon, token: SigningToken, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token.serve(daemon)
    _say(monkeypatch, daemon, folder)
    assert (f"wharfinger:pypi/{token.keyid}", token.public_key) == WharfingerSigner.import_("pypi")


@pytest.fixture
def two_tokens(daemon: FakeDaemon) -> tuple[SigningToken, SigningToken]:
    timestamp = SigningToken("ed25519", ("timestamp",))
    others = SigningToken("ed25519", ("bins-*", "snapshot"))
    daemon.script.set(
        "ListSigningKeys", signing_pb2.ListSigningKeysResponse(keys=[timestamp.listed(), others.listed()])
    )
    return timestamp, others


def test_of_several_keys_one_is_named_or_told_by_its_role(
    two_tokens: tuple[SigningToken, SigningToken], daemon: FakeDaemon, folder: Path
) -> None:
    timestamp, others = two_tokens
    assert timestamp.public_key == _import(daemon, folder, timestamp.keyid)[1]
    assert timestamp.public_key == _import(daemon, folder, role="timestamp")[1]
    assert others.public_key == _import(daemon, folder, role="bins-3f")[1]


@pytest.mark.parametrize(
    ("keyid", "role", "why"),
    [
        ("", "", "has more than one key in repository 'pypi'"),
        ("4e", "", "has no key 4e in repository 'pypi'"),
        ("", "targets", "has no key for role targets in repository 'pypi'"),
        ("4e", "timestamp", "has no key 4e for role timestamp in repository 'pypi'"),
    ],
)
def test_none_or_several_keys_are_refused_with_those_that_there_are(
    keyid: str,
    role: str,
    why: str,
    two_tokens: tuple[SigningToken, SigningToken],
    daemon: FakeDaemon,
    folder: Path,
) -> None:
    with pytest.raises(ValueError) as caught:
        _import(daemon, folder, keyid, role=role)
    assert why in str(caught.value)
    assert f"{two_tokens[0].keyid} for timestamp; {two_tokens[1].keyid} for bins-*, snapshot" in str(caught.value)


def test_a_repository_without_keys_is_told(daemon: FakeDaemon, folder: Path) -> None:
    daemon.script.set("ListSigningKeys", signing_pb2.ListSigningKeysResponse())
    with pytest.raises(ValueError, match="that it has: none"):
        _import(daemon, folder)


@pytest.mark.parametrize("pem", ["", "-----BEGIN PUBLIC KEY-----\n*\n-----END PUBLIC KEY-----\n", "ecdsa", "longer"])
def test_an_ed25519_key_that_is_none_is_the_daemons_mistake(
    pem: str, token: SigningToken, daemon: FakeDaemon, folder: Path
) -> None:
    listed = SigningToken("ed25519").listed()
    longer = listed.public_key_pem.replace("\n-----END", "AAAA\n-----END")
    listed.public_key_pem = {"ecdsa": token.pem, "longer": longer}.get(pem, pem)
    daemon.script.set("ListSigningKeys", signing_pb2.ListSigningKeysResponse(keys=[listed]))
    with pytest.raises(ServerError, match="its PEM holds none"):
        _import(daemon, folder)


def test_import_passes_on_what_the_daemon_says(daemon: FakeDaemon, folder: Path) -> None:
    daemon.script.set("ListSigningKeys", Abort(grpc.StatusCode.PERMISSION_DENIED, "no"))
    with pytest.raises(NotGrantedError):
        _import(daemon, folder)


# ---- Registration and processes --------------------------------------------------------------------------------------
# Runs in a process of its own: a fork of a process with the server's threads would be a test of luck.
FORKING = """
import os, sys
from securesystemslib.signer import Key, Signer
from wharfinger_client import signer
uri, keyid, pem, when = sys.argv[1:]
key = Key.from_dict(keyid, {"keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256", "keyval": {"public": pem}})
signer.register()
made = Signer.from_priv_key_uri(uri, key)
if when == "connected":
    made.sign(b"{}")
child = os.fork()
if child == 0:
    made.sign(b"{}")
    made.close()
    os._exit(7)
_, status = os.waitpid(child, 0)
assert 7 == os.waitstatus_to_exitcode(status), status
made.sign(b"{}")
print("done")
"""
NOT_REGISTERED = """
import sys
import wharfinger_client
assert "securesystemslib" not in sys.modules
import wharfinger_client.signer
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME
assert "wharfinger" not in SIGNER_FOR_URI_SCHEME
wharfinger_client.signer.register()
wharfinger_client.signer.register()
assert wharfinger_client.signer.WharfingerSigner is SIGNER_FOR_URI_SCHEME["wharfinger"]
print("done")
"""


def _python(program: str, *arguments: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments], capture_output=True, text=True, timeout=60
    )
    assert 0 == finished.returncode, finished.stderr
    return finished.stdout


@pytest.mark.parametrize("when", ["fresh", "connected"])
def test_a_forked_child_can_sign(when: str, daemon: FakeDaemon, token: SigningToken, connection: str) -> None:
    """A prefork task queue makes its signers before it forks, and never closes them."""
    token.serve(daemon)
    assert "done\n" == _python(FORKING, f"wharfinger:pypi/{token.keyid}?{connection}", token.keyid, token.pem, when)
    assert (2 if when == "fresh" else 3) == len(daemon.received)


def test_nothing_is_registered_and_no_tuf_library_imported_until_asked() -> None:
    assert "done\n" == _python(NOT_REGISTERED)


def test_a_site_customization_registers_for_a_program_that_cannot_be_changed(
    daemon: FakeDaemon, token: SigningToken, connection: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token.serve(daemon)
    (tmp_path / "sitecustomize.py").write_text("from wharfinger_client.signer import register\n\nregister()\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    program = FORKING.replace("signer.register()", "").replace("from wharfinger_client import signer", "")
    assert "done\n" == _python(program, f"wharfinger:pypi/{token.keyid}?{connection}", token.keyid, token.pem, "")


def test_threads_share_one_signer(daemon: FakeDaemon, signer: WharfingerSigner) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: signer.sign(PAYLOAD), range(32)))
    assert 32 == len(made) == len(daemon.received)
