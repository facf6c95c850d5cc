"""Whatever a client would refuse, the verification of a repository names, by the rule that it breaks and no other."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Key,
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer
from tuf.ngclient import UpdaterConfig

from wharfinger_daemon.errors import InvalidRequestError
from wharfinger_daemon.metadata.verification import documents
from wharfinger_daemon.metadata.verification.bins import BinsJob, BinsOutcome, BinVerifier
from wharfinger_daemon.metadata.verification.documents import (
    DocumentReader,
    FileTooLargeError,
    FileUnreadableError,
    RepositoryFiles,
)
from wharfinger_daemon.metadata.verification.findings import Report, Rule, Severity
from wharfinger_daemon.metadata.verification.history import compare
from wharfinger_daemon.metadata.verification.walk import RepositoryWalk, TrustedRoot
from wharfinger_daemon.storage.repository_files import HttpFiles, HttpLimits, open_repository

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=10)
PATHS = [f"packages/{number}/file.whl" for number in range(12)]

Alter = Callable[[Any], None]


class Repository:
    """Made with python-tuf alone, and signed by keys in memory. What is altered is signed as it is then."""

    def __init__(self, *, succinct: bool = True) -> None:
        self.signers = {name: CryptoSigner.generate_ed25519() for name in ("root", "online", "bins")}
        online: Key = self.signers["online"].public_key
        keys = {signer.public_key.keyid: signer.public_key for signer in self.signers.values()}
        roles = {
            "root": Role([self.signers["root"].public_key.keyid], 1),
            "targets": Role([self.signers["bins"].public_key.keyid], 1),
            "snapshot": Role([online.keyid], 1),
            "timestamp": Role([online.keyid], 1),
        }
        self.root = Root(1, "1.0.31", LATER, keys, roles, consistent_snapshot=True)
        every = [f"{digit:x}" for digit in range(16)]
        to_bins = DelegatedRole("bins", [self.signers["bins"].public_key.keyid], 1, False, path_hash_prefixes=every)
        self.targets = Targets(1, "1.0.31", LATER, {}, Delegations(keys, {"bins": to_bins}))
        if succinct:
            division = Delegations(keys, succinct_roles=SuccinctRoles([online.keyid], 1, 2, "bins"))
            self.names = list(division.succinct_roles.get_roles())  # type: ignore[union-attr]
        else:
            self.names = [f"bins-{index}" for index in range(4)]
            division = Delegations(
                keys,
                {
                    name: DelegatedRole(
                        name, [online.keyid], 1, True, path_hash_prefixes=every[4 * index : 4 * index + 4]
                    )
                    for index, name in enumerate(self.names)
                },
            )
        self.intermediate = Targets(1, "1.0.31", LATER, {}, division)
        self.bins = {name: Targets(1, "1.0.31", LATER, {}) for name in self.names}
        for path in PATHS:
            index = int(hashlib.sha256(path.encode()).hexdigest()[0], 16) // 4
            self.bins[self.names[index]].targets[path] = TargetFile(7, {"sha256": "0" * 64}, path)
        self.files: dict[str, bytes] = {}

    def write(self, name: str, signed: Any, key: str, alter: Alter | None = None) -> bytes:
        """Signs the canonical bytes of a signed object, altered or not, and keeps the file."""
        value = signed.to_dict()
        if alter is not None:
            alter(value)

        payload = encode_canonical(value).encode()  # type: ignore[union-attr]
        signature = self.signers[key].sign(payload)
        envelope = {"signatures": [signature.to_dict()], "signed": value}
        self.files[name] = json.dumps(envelope, separators=(",", ":"), sort_keys=True).encode()
        return self.files[name]

    def publish(self, alter: Mapping[str, Alter] | None = None, named: Mapping[str, int] | None = None) -> Repository:
        """Writes everything anew.

        Args:
            alter: by role, what to do to its ``signed``.
        """
        changes = alter or {}
        self.write("1.root.json", self.root, "root", changes.get("root"))
        self.write("1.targets.json", self.targets, "bins", changes.get("targets"))
        self.write("1.bins.json", self.intermediate, "bins", changes.get("bins"))
        for name in self.names:
            self.write(f"1.{name}.json", self.bins[name], "online", changes.get(name))
        versions = named or dict.fromkeys(("targets", "bins", *self.names), 1)
        meta = {f"{role}.json": MetaFile(version) for role, version in versions.items()}
        snapshot = self.write("1.snapshot.json", Snapshot(1, "1.0.31", LATER, meta), "online", changes.get("snapshot"))
        described = MetaFile(1, len(snapshot), {"sha256": hashlib.sha256(snapshot).hexdigest()})
        timestamp = Timestamp(1, "1.0.31", LATER, described)
        self.write("timestamp.json", timestamp, "online", changes.get("timestamp"))
        return self

    def read(self, name: str, limit: int) -> bytes | None:
        content = self.files.get(name)
        if content is not None and len(content) > limit:
            raise FileTooLargeError
        return content


def verified(files: RepositoryFiles, trusted: TrustedRoot | None = None, headroom_hours: float = 6) -> Report:
    report = Report()

    def verify_bins(job: BinsJob, versions: Mapping[str, int]) -> Iterable[BinsOutcome]:
        return [BinVerifier(job, files).verify(versions)]

    reader = DocumentReader(files, report, NOW, timedelta(hours=headroom_hours))
    RepositoryWalk(reader, trusted or TrustedRoot(), verify_bins).run()
    return report


def found(report: Report) -> list[tuple[str, str]]:
    """Errors and warnings, as (file, rule)."""
    return [(one.file, one.rule.value) for one in report.findings if one.severity is not Severity.NOTE]


def setting(**values: object) -> Alter:
    return lambda signed: signed.update(values)


@pytest.fixture(scope="module")
def pristine() -> Repository:
    return Repository().publish()


@pytest.fixture
def repository(pristine: Repository) -> Repository:
    copied = Repository.__new__(Repository)
    copied.__dict__ = {name: value if name == "signers" else deepcopy(value) for name, value in vars(pristine).items()}
    return copied


@pytest.mark.parametrize("succinct", [True, False])
def test_good_repository_has_no_findings(succinct: bool) -> None:
    repository = Repository(succinct=succinct).publish()
    report = verified(repository, TrustedRoot(sha256=hashlib.sha256(repository.files["1.root.json"]).hexdigest()))
    assert [] == report.findings
    assert (12, 9) == (report.targets, len(report.digests))
    assert {"root": 1, "timestamp": 1, "snapshot": 1, "targets": 1, "bins": 1} | {
        f"bins-{index}": 1 for index in range(4)
    } == report.versions


@pytest.mark.parametrize("name", ["root", "targets", "bins", "bins-2", "snapshot", "timestamp"])
def test_missing_file_is_found(repository: Repository, name: str) -> None:
    file = "timestamp.json" if name == "timestamp" else f"1.{name}.json"
    del repository.files[file]
    assert (file, "file-missing") in found(verified(repository))


@pytest.mark.parametrize("role", ["root", "targets", "bins", "bins-1", "snapshot", "timestamp"])
@pytest.mark.parametrize(
    ("alter", "rule"),
    [
        (setting(expires="2029-12-31T23:59:59Z"), "expired"),
        (setting(expires="2030-01-01T05:00:00Z"), "expires-soon"),
        (setting(expires="tomorrow"), "not-metadata"),
        (setting(expires=5), "not-metadata"),
        (setting(version=0), "not-metadata"),
        (setting(version=True), "not-metadata"),
        (setting(version="1"), "not-metadata"),
        (setting(_type="mirrors"), "not-metadata"),
        (setting(spec_version="2.0"), "not-metadata"),
    ],
    ids=["expired", "soon", "no-time", "number", "zero", "boolean", "text", "type", "spec"],
)
def test_wrong_field_is_found_in_every_file(repository: Repository, role: str, alter: Alter, rule: str) -> None:
    file = "timestamp.json" if role == "timestamp" else f"1.{role}.json"
    assert [(file, rule)] == found(verified(repository.publish({role: alter})))


@pytest.mark.parametrize("role", ["targets", "bins", "bins-1", "snapshot"])
def test_other_version_than_is_named_is_found(repository: Repository, role: str) -> None:
    assert (f"1.{role}.json", "wrong-version") in found(verified(repository.publish({role: setting(version=2)})))


@pytest.mark.parametrize("role", ["root", "targets", "bins", "bins-1", "snapshot", "timestamp"])
def test_signature_by_another_key_is_found(repository: Repository, role: str) -> None:
    file = "timestamp.json" if role == "timestamp" else f"1.{role}.json"
    envelope = json.loads(repository.files[file])
    signature = envelope["signatures"][0]
    signature["sig"] = ("0" if signature["sig"][0] != "0" else "1") + signature["sig"][1:]
    content = json.dumps(envelope, separators=(",", ":"), sort_keys=True).encode()
    if role == "snapshot":  # So that the timestamp does not notice first.
        repository.publish({"timestamp": lambda signed: signed["meta"]["snapshot.json"].pop("hashes")})
    repository.files[file] = content
    assert (file, "threshold-not-met") in found(verified(repository))


def test_next_root_is_verified_by_the_former_and_by_itself(repository: Repository) -> None:
    other = CryptoSigner.generate_ed25519()
    repository.root.version = 2
    repository.write("2.root.json", repository.root, "root")
    assert [] == found(verified(repository))
    repository.signers["thief"] = other
    repository.write("2.root.json", repository.root, "thief")
    assert [("2.root.json", "threshold-not-met")] * 2 == found(verified(repository))
    # By its own keys, and not by those of before.
    repository.root.add_key(other.public_key, "root")
    repository.root.revoke_key(repository.signers["root"].public_key.keyid, "root")
    repository.write("2.root.json", repository.root, "thief")
    report = verified(repository)
    assert [("2.root.json", "threshold-not-met")] == found(report)
    assert "1.root.json wants" in report.findings[-1].message


def test_root_that_skips_a_version_is_found(repository: Repository) -> None:
    repository.root.version = 3
    repository.write("2.root.json", repository.root, "root")
    assert [("2.root.json", "wrong-version")] == found(verified(repository))


def test_root_that_is_not_the_trusted_one_is_found(repository: Repository) -> None:
    assert [("1.root.json", "root-not-trusted")] == found(verified(repository, TrustedRoot(sha256="0" * 64)))
    other = Repository().publish()
    other.root.version = 2
    other.write("2.root.json", other.root, "root")
    trusted = TrustedRoot(content=repository.files["1.root.json"])
    assert ("2.root.json", "threshold-not-met") in found(verified(other, trusted))


def test_root_that_was_not_given_is_noted(repository: Repository) -> None:
    [note] = verified(repository).findings
    assert (Severity.NOTE, Rule.ROOT_NOT_PINNED) == (note.severity, note.rule)
    assert hashlib.sha256(repository.files["1.root.json"]).hexdigest() in note.message


def test_chain_that_clients_cannot_follow_at_once_is_warned_of(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wharfinger_daemon.metadata.verification.walk.MAX_ROOT_ROTATIONS", 2)
    for version in (2, 3, 4):
        repository.root.version = version
        repository.write(f"{version}.root.json", repository.root, "root")
    assert [("4.root.json", "roots-too-many")] == found(verified(repository))


def test_repository_without_consistent_snapshots_is_found(repository: Repository) -> None:
    assert [("1.root.json", "no-consistent-snapshot")] == found(
        verified(repository.publish({"root": setting(consistent_snapshot=False)}))
    )


def test_garbage_in_root_is_found(repository: Repository) -> None:
    assert [("1.root.json", "not-metadata")] == found(verified(repository.publish({"root": setting(roles={})})))


@pytest.mark.parametrize("change", [{"length": 5}, {"hashes": {"sha256": "0" * 64}}], ids=["length", "hash"])
def test_snapshot_that_the_timestamp_does_not_describe_is_found(repository: Repository, change: Any) -> None:
    repository.publish({"timestamp": lambda signed: signed["meta"]["snapshot.json"].update(change)})
    assert [("1.snapshot.json", "wrong-content")] == found(verified(repository))


@pytest.mark.parametrize("meta", [{}, {"snapshot.json": {}}, {"snapshot.json": {"version": "1"}}, []], ids=str)
def test_timestamp_that_names_no_snapshot_is_found(repository: Repository, meta: Any) -> None:
    assert [("timestamp.json", "not-metadata")] == found(
        verified(repository.publish({"timestamp": setting(meta=meta)}))
    )


def test_bin_that_the_snapshot_does_not_name_is_found(repository: Repository) -> None:
    repository.publish(named={"targets": 1, "bins": 1, "bins-0": 1, "bins-1": 1, "bins-2": 1})
    assert [("1.snapshot.json", "role-not-named")] == found(verified(repository))
    repository.publish(named={"bins": 1})
    assert ("1.snapshot.json", "role-not-named") in found(verified(repository))


def test_role_that_nobody_delegates_to_is_warned_of(repository: Repository) -> None:
    named = dict.fromkeys(("targets", "bins", *repository.names, "stray"), 1)
    assert [("1.snapshot.json", "role-not-delegated")] == found(verified(repository.publish(named=named)))


def test_bin_that_delegates_is_warned_of(repository: Repository) -> None:
    delegations = {"keys": {}, "roles": []}
    assert [("1.bins-0.json", "not-followed")] == found(
        verified(repository.publish({"bins-0": setting(delegations=delegations)}))
    )


def test_delegation_to_more_roles_than_can_be_is_found_without_counting_them(repository: Repository) -> None:
    """A few bytes can delegate to four thousand million bins."""

    def to_many(signed: Any) -> None:
        signed["delegations"]["succinct_roles"]["bit_length"] = 32

    assert [("1.bins.json", "too-many-roles")] == found(verified(repository.publish({"bins": to_many})))


def test_long_chain_of_delegations_is_followed_to_its_end(repository: Repository) -> None:
    length = 1_500
    keys = {repository.signers["bins"].public_key.keyid: repository.signers["bins"].public_key}
    named = {"targets": 1}

    def delegating(number: int) -> Targets:
        role = DelegatedRole(f"link{number}", list(keys), 1, False, paths=["*"])
        return Targets(1, "1.0.31", LATER, {}, Delegations(dict(keys), {role.name: role}))

    repository.targets = delegating(0)
    for number in range(length):
        named[f"link{number}"] = 1
        signed = Targets(1, "1.0.31", LATER, {}) if number == length - 1 else delegating(number + 1)
        repository.write(f"1.link{number}.json", signed, "bins")
    report = verified(repository.publish(named=named))
    assert [] == found(report)
    assert length + 4 == len(report.digests)


def test_snapshot_cannot_tell_the_version_of_root(repository: Repository) -> None:
    named = dict.fromkeys(("targets", "bins", *repository.names), 1) | {"root": 99}
    report = verified(repository.publish(named=named))
    assert (1, [("1.snapshot.json", "role-not-delegated")]) == (report.versions["root"], found(report))


def test_delegations_that_cannot_be_read_are_found(repository: Repository) -> None:
    report = verified(repository.publish({"bins": setting(delegations={"keys": 5})}))
    assert ("1.bins.json", "not-metadata") in found(report)


def test_target_that_clients_do_not_look_for_is_found(repository: Repository) -> None:
    first, second = (set(repository.bins[name].targets) for name in repository.names[:2])
    stray = (first or second).pop()
    wrong = next(name for name in repository.names if stray not in repository.bins[name].targets)
    repository.bins[wrong].targets[stray] = TargetFile(7, {"sha256": "0" * 64}, stray)
    assert [(f"1.{wrong}.json", "target-misplaced")] == found(verified(repository.publish()))


@pytest.mark.parametrize(
    "listed",
    [
        {"../escape": {"length": 1, "hashes": {"sha256": "0" * 64}}},
        {"a": {"length": -1, "hashes": {"sha256": "0" * 64}}},
        {"a": {"length": 1, "hashes": {}}},
        {"a": {"length": 1, "hashes": {"sha256": "X"}}},
        {"a": {"length": 1, "hashes": {"sha256": 5}}},
        {"a": {"length": 1}},
        {"a": []},
    ],
    ids=["path", "length", "no-hash", "bad-hash", "number", "hashes", "list"],
)
def test_target_that_clients_cannot_use_is_found(repository: Repository, listed: Any) -> None:
    assert [("1.bins-0.json", "target-invalid")] == found(
        verified(repository.publish({"bins-0": setting(targets=listed)}))
    )


def test_of_many_wrong_targets_some_are_named(repository: Repository) -> None:
    listed = {f"../{number}": {"length": 1, "hashes": {"sha256": "0" * 64}} for number in range(20)}
    report = verified(repository.publish({"bins-0": setting(targets=listed)}))
    assert 6 == len(found(report))
    assert "15 more" in report.findings[-1].message


def test_role_without_targets_is_found(repository: Repository) -> None:
    assert [("1.bins-0.json", "not-metadata")] == found(verified(repository.publish({"bins-0": setting(targets=[])})))


# ---- The bytes of a file ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"[]", b"{}", b'{"signed":{},"signatures":[]}', b"{" * 5_000, b"[" * 15_000, b'"\xff"', b"9" * 10_000],
    ids=["empty", "zero", "array", "object", "nothing", "deep", "deeper", "latin", "number"],
)
def test_garbage_is_found_and_harms_nothing(repository: Repository, content: bytes) -> None:
    for file in ("1.bins-0.json", "timestamp.json"):
        repository.files[file] = content
    assert ("timestamp.json", "not-metadata") in found(verified(repository))


@pytest.mark.parametrize(
    "signatures",
    ["{}", "[5]", '[{"keyid":1,"sig":""}]', '[{"keyid":"a","sig":""},{"keyid":"a","sig":""}]'],
    ids=["object", "number", "keyid", "twice"],
)
def test_signatures_that_are_none_are_found(repository: Repository, signatures: str) -> None:
    envelope = json.loads(repository.files["timestamp.json"])
    signed = json.dumps(envelope["signed"], separators=(",", ":"), sort_keys=True)
    repository.files["timestamp.json"] = f'{{"signatures":{signatures},"signed":{signed}}}'.encode()
    assert [("timestamp.json", "not-metadata")] == found(verified(repository))


def test_key_that_is_named_twice_is_found(repository: Repository) -> None:
    content = repository.files["1.bins-0.json"]
    for twice in (
        content.replace(b'"version":1', b'"version":2,"version":1'),
        content.replace(b'{"signatures":', b'{"signatures":[],"signatures":'),
    ):
        repository.files["1.bins-0.json"] = twice
        assert [("1.bins-0.json", "duplicate-key")] == found(verified(repository))


def test_file_that_is_not_canonical_verifies_with_a_warning(repository: Repository) -> None:
    content = repository.files["1.bins-0.json"]
    repository.files["1.bins-0.json"] = json.dumps(json.loads(content), indent=1).encode()
    assert [("1.bins-0.json", "not-canonical")] == found(verified(repository))


@pytest.mark.parametrize(("kind", "file"), [("timestamp", "timestamp.json"), ("snapshot", "1.snapshot.json")])
def test_file_that_clients_do_not_read_whole_is_found(
    repository: Repository, kind: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(documents.SIZE_LIMITS, kind, len(repository.files[file]) - 1)
    assert (file, "file-too-large") in found(verified(repository))


def test_limits_are_those_of_python_tufs_client() -> None:

    config = UpdaterConfig()
    limits = (
        config.root_max_length,
        config.timestamp_max_length,
        config.snapshot_max_length,
        config.targets_max_length,
    )
    assert limits == tuple(documents.SIZE_LIMITS[kind] for kind in ("root", "timestamp", "snapshot", "targets"))
    assert config.max_root_rotations == 256


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_changed_byte_goes_unnoticed(pristine: Repository, data: st.DataObject) -> None:
    """Of what is signed; in the signatures, upper case for lower case changes nothing."""
    file = data.draw(st.sampled_from(sorted(pristine.files)))
    content = bytearray(pristine.files[file])
    begin = content.index(b'"signed":')
    place = data.draw(st.integers(begin + 9, len(content) - 2))
    content[place] ^= data.draw(st.integers(1, 255))
    before = pristine.files[file]
    trusted = TrustedRoot(content=pristine.files["1.root.json"])
    pristine.files[file] = bytes(content)
    try:
        if file == "1.root.json":
            trusted = TrustedRoot(sha256=hashlib.sha256(before).hexdigest())
        assert found(verified(pristine, trusted))
    finally:
        pristine.files[file] = before


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_content_does_worse_than_be_found(content: bytes) -> None:
    report = Report()
    DocumentReader(Repository.__new__(Repository), report, NOW, timedelta(0)).parse("x.json", "targets", content)
    assert report.findings


def test_python_tufs_own_files_are_read_as_they_are(repository: Repository) -> None:
    for bin_role in repository.names:
        metadata = Metadata(repository.bins[bin_role])
        metadata.sign(repository.signers["online"])
        repository.files[f"1.{bin_role}.json"] = metadata.to_bytes(JSONSerializer(compact=True))
    assert [] == found(verified(repository))


# ---- Before and after ------------------------------------------------------------------------------------------------
def test_what_goes_back_or_disappears_is_found(repository: Repository) -> None:
    before = verified(repository)
    before.versions |= {"bins-0": 3, "gone": 1, "timestamp": 9}
    now = verified(repository)
    compare(before, now)
    assert sorted(
        [("1.bins-0.json", "rollback"), ("1.gone.json", "rollback"), ("timestamp.json", "rollback")]
    ) == sorted(found(now))


def test_two_contents_of_one_version_are_found(repository: Repository) -> None:
    before = verified(repository)
    repository.bins["bins-0"].expires += timedelta(hours=1)
    now = verified(repository.publish())
    compare(before, now)
    assert {("1.bins-0.json", "equivocation")} == set(found(now))
    same = verified(repository)
    compare(now, same)
    assert [] == found(same)


# ---- Where the files come from ---------------------------------------------------------------------------------------
def test_directory_gives_regular_files_alone(tmp_path: Path) -> None:
    files = open_repository(str(tmp_path))
    (tmp_path / "a.json").write_bytes(b"content")
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "link.json").symlink_to(tmp_path / "a.json")
    (tmp_path / "folder.json").mkdir()
    assert b"content" == files.read("a.json", 7)
    assert files.read("b.json", 7) is None
    with pytest.raises(FileTooLargeError):
        files.read("a.json", 6)
    for name in ("pipe.json", "link.json", "folder.json", "../a.json", "a\0b", ".hidden", "x" * 5000):
        with pytest.raises(FileUnreadableError):
            files.read(name, 100)


@pytest.mark.parametrize(
    "location",
    [
        "ftp://localhost/x",
        "file:///etc",
        "/does/not/exist",
        "http://",
        "http://[",
        "http://u:p@localhost/",
        "http://a/?q",
    ],
)
def test_location_that_is_none_is_refused(location: str) -> None:
    with pytest.raises(InvalidRequestError):
        open_repository(location)


class _Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        if name == "good.json":
            self._answer(200, b"content")
        elif name == "moved.json":
            self.send_response(302)
            self.send_header("Location", "/good.json")
            self.end_headers()
        elif name == "short.json":
            self.send_response(200)
            self.send_header("Content-Length", "9")
            self.end_headers()
            self.wfile.write(b"content")
        elif name in ("drip-head.json", "drip-body.json"):
            self.wfile.write(b"HTTP/1.0 200 OK\r\n" + (b"a: " if "head" in name else b"\r\n"))
            with suppress(OSError):
                while not time.sleep(0.02):  # type: ignore[func-returns-value]
                    self.wfile.write(b"x")
        elif name == "endless.json":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b" " * 65_536)
            except OSError:
                return
        else:
            self._answer(int(name), b"")

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/metadata"
        server.shutdown()
        thread.join()


def test_url_gives_files_and_follows_nothing(url: str) -> None:
    files = HttpFiles(url)
    assert b"content" == files.read("good.json", 7) == files.read("good.json", 7)
    assert (None, None) == (files.read("404", 7), files.read("403", 7))
    for name in ("moved.json", "500"):
        with pytest.raises(FileUnreadableError):
            files.read(name, 7)
    for name in ("endless.json", "good.json"):
        with pytest.raises(FileTooLargeError):
            files.read(name, 6)


def test_file_that_does_not_come_in_time_is_given_up(url: str) -> None:
    with pytest.raises(FileUnreadableError, match="in time"):
        HttpFiles(url, HttpLimits(file_seconds=0.2)).read("endless.json", 10**12)


@pytest.mark.parametrize("name", ["drip-head.json", "drip-body.json"])
def test_file_that_drips_without_end_is_given_up(url: str, name: str) -> None:
    """Every byte comes in time, and the whole never does."""
    with pytest.raises(FileUnreadableError, match="in time"):
        HttpFiles(url, HttpLimits(file_seconds=0.3)).read(name, 10**6)


def test_file_that_ends_early_is_none(url: str) -> None:
    with pytest.raises(FileUnreadableError):
        HttpFiles(url).read("short.json", 100)


def test_answer_that_was_not_read_to_its_end_is_not_taken_for_the_next(url: str) -> None:
    files = HttpFiles(url)
    with pytest.raises(FileTooLargeError):
        files.read("good.json", 3)
    assert [b"content"] * 2 == [files.read("good.json", 7), files.read("good.json", 7)]
    files.close()


def test_server_that_is_not_there_is_told() -> None:
    with pytest.raises(FileUnreadableError, match="does not answer"):
        HttpFiles("http://127.0.0.1:1").read("1.root.json", 10)
