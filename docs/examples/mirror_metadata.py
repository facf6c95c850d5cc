"""Copies an index's TUF metadata, verified, into a folder that clients can use instead: what a mirror does.

    python docs/examples/mirror_metadata.py --root 1.root.json --metadata http://127.0.0.1:8080/metadata/ \\
        --cache cache mirror

Run it again and again: it takes what is new, and never shows clients a state that is not whole. With ``--targets`` and
paths, the files themselves are copied too, under the names that clients ask for.

Exit status: 0 the mirror is up to date, 1 something does not verify and the mirror is as it was, 2 used wrongly, 4 the
index cannot be reached.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tuf.api.exceptions import DownloadError, DownloadLengthMismatchError, RepositoryError
from tuf.api.metadata import Metadata, Snapshot, Targets
from tuf.ngclient import Updater, Urllib3Fetcher


def mirror(arguments: argparse.Namespace) -> int:
    """Copies one consistent state; returns how many files were new."""
    for folder in (arguments.cache, arguments.mirror, arguments.files):
        folder.mkdir(parents=True, exist_ok=True)
    updater = Updater(
        str(arguments.cache),
        arguments.metadata,
        str(arguments.files),
        arguments.targets,
        bootstrap=arguments.root.read_bytes(),
    )
    updater.refresh()  # Root, timestamp, snapshot and targets are verified by python-tuf, and lie in the cache now.
    new = copy_roles(arguments)
    for path in arguments.paths:
        new += copy_file(updater, path, arguments.files)
    for root in sorted((arguments.cache / "root_history").glob("*.root.json")):
        new += place(arguments.mirror / root.name, root.read_bytes())
    snapshot = (arguments.cache / "snapshot.json").read_bytes()
    new += place(arguments.mirror / f"{Metadata[Snapshot].from_bytes(snapshot).signed.version}.snapshot.json", snapshot)
    # Last of all: it makes everything above visible in one step.
    return new + place(arguments.mirror / "timestamp.json", (arguments.cache / "timestamp.json").read_bytes())


def copy_roles(arguments: argparse.Namespace) -> int:
    """Copies every role that the snapshot names, from the top down, each verified by who delegates to it."""
    wanted = Metadata[Snapshot].from_file(str(arguments.cache / "snapshot.json")).signed.meta
    cached = (arguments.cache / "targets.json").read_bytes()
    targets = Metadata[Targets].from_bytes(cached)
    new = place(arguments.mirror / f"{targets.signed.version}.targets.json", cached)
    delegators = [targets]
    while delegators:
        delegator = delegators.pop()
        for role in delegated_by(delegator):
            version = wanted[f"{role}.json"].version
            file = arguments.mirror / f"{version}.{role}.json"
            content = file.read_bytes() if file.exists() else fetch(arguments.metadata, file.name)
            metadata = Metadata[Targets].from_bytes(content)
            delegator.verify_delegate(role, metadata)
            if metadata.signed.version != version or metadata.signed.is_expired():
                raise RepositoryError(f"{file.name} is version {metadata.signed.version}, or has expired")
            new += place(file, content)
            delegators.append(metadata)
    return new


def delegated_by(metadata: Metadata[Targets]) -> list[str]:
    """The roles to which it delegates."""
    delegations = metadata.signed.delegations
    if delegations is None:
        return []
    if delegations.succinct_roles is not None:
        return list(delegations.succinct_roles.get_roles())
    return list(delegations.roles or {})


def copy_file(updater: Updater, path: str, files: Path) -> int:
    """Copies one target, verified, under each name that a client may ask for: ``HASH.NAME``, for each hash."""
    target = updater.get_targetinfo(path)
    if target is None:
        raise RepositoryError(f"{path} is not listed")
    names = [files / name for name in target.get_prefixed_paths()]
    if all(name.exists() for name in names):
        return 0
    content = Path(updater.download_target(target, str(files / ".download"))).read_bytes()
    return sum(place(name, content) for name in names)


def fetch(base: str, name: str) -> bytes:
    """At most what clients would read."""
    return Urllib3Fetcher().download_bytes(f"{base.rstrip('/')}/{name}", 5_000_000)


def place(file: Path, content: bytes) -> int:
    """Puts a file there, whole or not at all; says whether that changed anything."""
    if file.exists() and file.read_bytes() == content:
        return 0
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.unfinished")
    unfinished.write_bytes(content)
    unfinished.replace(file)
    return 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=Path, required=True, help="the trusted root.json")
    parser.add_argument("--metadata", required=True, help="URL of the index's metadata")
    parser.add_argument("--targets", help="URL of the index's files, if some are to be copied")
    parser.add_argument("--cache", type=Path, required=True, help="folder that remembers what was seen; keep it")
    parser.add_argument("--files", type=Path, default=Path("files"), help="folder for copied files")
    parser.add_argument("mirror", type=Path, help="folder for the metadata, to be served to clients")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="files to copy, as the index calls them")
    return parser.parse_args()


def main() -> int:
    try:
        print(f"{mirror(parse())} files are new")
    except (RepositoryError, DownloadLengthMismatchError) as error:
        print(f"does not verify, and the mirror is as it was: {error}", file=sys.stderr)
        return 1
    except DownloadError as error:
        print(f"cannot be reached: {error}", file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    sys.exit(main())
