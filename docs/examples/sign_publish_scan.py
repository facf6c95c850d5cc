"""Scans a file, publishes it, reads it back, and signs: what an index does with an upload, with the light client alone.

Run it against a development daemon (``make run``), with no argument or with a wheel or sdist of yours:

    python docs/examples/sign_publish_scan.py --home .wharfinger example-1.0-py3-none-any.whl

Exit status: 0 done, 1 the file was found to be a threat or something read back was not what it must be, 2 the daemon
could not do it.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

from wharfinger_client import (
    Classification,
    Client,
    ClientSettings,
    SigningItem,
    Subject,
    Target,
    TlsIdentity,
    WharfingerError,
)

WHEEL_NAME = "wharfinger_example-1.0-py3-none-any.whl"


class UnexpectedAnswerError(Exception):
    """What was read back is not what was written."""


def tiny_wheel() -> bytes:
    """A harmless wheel, the same bytes each time."""
    folder = "wharfinger_example-1.0.dist-info"
    members = {
        "wharfinger_example.py": 'GREETING = "hello"\n',
        f"{folder}/METADATA": "Metadata-Version: 2.1\nName: wharfinger-example\nVersion: 1.0\n",
        f"{folder}/WHEEL": "Wheel-Version: 1.0\nGenerator: example\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{folder}/RECORD": f"wharfinger_example.py,,\n{folder}/METADATA,,\n{folder}/WHEEL,,\n{folder}/RECORD,,\n",
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, text in members.items():
            wheel.writestr(zipfile.ZipInfo(name), text)
    return content.getvalue()


def scan(client: Client, file: Path) -> bool:
    """Streams the file to the daemon. True if it may be published: only a finished scan without a threat says so."""
    project, version = (*file.name.split("-"), "", "")[:2]
    reply = client.scan_file(file, subject=Subject.file(project=project, version=version, filename=file.name))
    found = reply.scan
    print(f"scan       {found.classification or found.state} (score {found.score:g}, {len(found.findings)} findings)")
    for finding in found.findings:
        print(f"           {finding.check}/{finding.rule} {finding.member}:{finding.line} {finding.message}")
    return found.classification in (Classification.BENIGN, Classification.INDETERMINATE)


def publish(client: Client, repository: str, file: Path, targets: Path) -> None:
    """Puts the file where the development daemon serves it, publishes it as a target, and reads the target back."""
    hashes = Target.from_file("", file, algorithms=["blake2b-256"]).hashes
    digest = hashes["blake2b-256"]
    path = f"packages/{digest[:2]}/{digest[2:4]}/{digest[4:]}/{file.name}"
    target = Target.from_file(path, file, algorithms=["sha256", "blake2b-256"])
    # The file first: metadata must not name what clients cannot get.
    served = targets / path
    served.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, served)

    result = client.publish_targets(repository, add=[target])
    bins = ", ".join(f"{role} version {version}" for role, version in sorted(result.bin_versions.items()))
    print(f"publish    {path}")
    print(f"           timestamp version {result.timestamp_version}, {bins or 'nothing had to change'}")

    published = client.get_target(repository, path)
    if published.target != target:
        raise UnexpectedAnswerError(f"The metadata says {published.target}, but {target} was published.")
    print(f"target     listed by {published.role} version {published.role_version}, expires {published.expires}")


def sign(client: Client, repository: str) -> None:
    """Asks for the signature of the current timestamp again: the same bytes return the same signature."""
    metadata = json.loads(client.get_metadata(repository, "timestamp").content)
    # Canonical JSON, as far as a timestamp needs it: it holds no control character, quotation mark or backslash.
    signed = json.dumps(metadata["signed"], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    item = SigningItem(repository, signed, role="timestamp")

    (advice,) = client.lint([item])
    if not advice.accepted:
        raise UnexpectedAnswerError(f"Lint refuses the published timestamp: {advice.reason}: {advice.message}")
    print(f"lint       {advice.role} version {advice.version} would be signed, signed before: {advice.already_signed}")

    (signature,) = client.sign([item])
    recorded = {entry["keyid"]: entry["sig"] for entry in metadata["signatures"]}
    if recorded.get(signature.keyid) != signature.sig:
        raise UnexpectedAnswerError("The signature is not the one in the published timestamp.")
    print(
        f"sign       {signature.role} version {signature.version}: the recorded signature of key {signature.keyid[:8]}…"
    )


def run(client: Client, repository: str, file: Path, targets: Path) -> int:
    """All steps; returns the exit status."""
    print(f"health     {client.check_health()}")
    for key in client.list_signing_keys(repository):
        print(f"key        {key.keyid[:8]}… {key.scheme} for {', '.join(key.roles)}")
    if not scan(client, file):
        print("The file is not published: its scan did not end well.", file=sys.stderr)
        return 1
    try:
        publish(client, repository, file, targets)
        sign(client, repository)
    except UnexpectedAnswerError as error:
        print(error, file=sys.stderr)
        return 1
    print("done")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Reads the command line and runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, help="a wheel or sdist; a tiny wheel is made if none is given")
    parser.add_argument(
        "--home", type=Path, default=Path(".wharfinger"), help="the daemon's home (default: %(default)s)"
    )
    parser.add_argument("--address", default="127.0.0.1:50051", help="where it listens (default: %(default)s)")
    parser.add_argument("--repository", default="development", help="the repository's name (default: %(default)s)")
    options = parser.parse_args(arguments)

    tls = options.home / "tls"
    identity = TlsIdentity(ca=tls / "ca.crt", certificate=tls / "warehouse.crt", key=tls / "warehouse.key")
    with tempfile.TemporaryDirectory() as folder, Client(ClientSettings(options.address, identity)) as client:
        file = options.file
        if file is None:
            file = Path(folder) / WHEEL_NAME
            file.write_bytes(tiny_wheel())
        try:
            return run(client, options.repository, file, options.home / "targets")
        except (WharfingerError, OSError) as error:
            print(error, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
