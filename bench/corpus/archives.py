"""The labelled archives. They are read as bytes, never unpacked, built or run.

Malicious ones come out of a git object store, chosen by a list that says which of them may be used: a table of
``family``, ``path_sha256``, ``size`` and ``path``, separated by tabs. Clean ones are files in a folder, one subfolder a
group (``popular``, ``odd``, ``tail``); only projects whose normalised name has a SHA-256 that begins with 0 to 7 count,
the others are kept for evaluation.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from wharfinger_daemon.scanning.model import Subject, SubjectKind

MALICIOUS = "malicious"
LARGEST_BYTES = 15 << 20

_SUFFIXES = (".whl", ".tar.gz", ".tgz", ".zip", ".tar.bz2", ".tar.xz", ".egg")


class Content(Protocol):
    """Where an archive's bytes are."""

    def read(self, name: str) -> bytes: ...


@dataclass(frozen=True)
class Archive:
    """One labelled archive.

    Attributes:
        label: ``malicious``, or the group of a clean one.
        cluster: the family of a malicious one, the project of a clean one: what counts once.
        name: what ``content`` knows it by.
        filename: its file name.
        content: where its bytes are.
    """

    label: str
    cluster: str
    name: str
    filename: str
    content: Content

    @property
    def malicious(self) -> bool:
        return self.label == MALICIOUS

    @property
    def subject(self) -> Subject:
        """As its file name has it."""
        stem = _stem(self.filename)
        version = stem.split("-")[1:2] if self.filename.endswith((".whl", ".egg")) else [stem.rpartition("-")[2]]
        return Subject(SubjectKind.FILE, project_of(self.filename), "".join(version), self.filename)

    def read(self) -> bytes:
        return self.content.read(self.name)


class GitObjects:
    """Blobs of one commit of a bare repository, by path."""

    def __init__(self, folder: Path, commit: str) -> None:
        self._folder = folder
        self._commit = commit

    def read(self, name: str) -> bytes:
        command = ["git", f"--git-dir={self._folder}", "cat-file", "blob", f"{self._commit}:{name}"]
        return subprocess.run(command, check=True, capture_output=True).stdout


class Files:
    """Files, by path."""

    def read(self, name: str) -> bytes:
        return Path(name).read_bytes()


@dataclass(frozen=True)
class Places:
    """Where the corpora are; what is None is left out.

    Attributes:
        malicious_list: the table of archives that may be used.
        malicious_store: the git directory.
        commit: the commit of the store.
        clean: the folder with one subfolder a group.
    """

    malicious_list: Path | None
    malicious_store: Path | None
    commit: str
    clean: Path | None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Places:
        """As the variables WHARFINGER_MALICIOUS_LIST, _MALICIOUS_STORE, _MALICIOUS_COMMIT and _CLEAN name them."""

        def path(name: str) -> Path | None:
            value = environment.get(f"WHARFINGER_{name}", "")
            return Path(value) if value and Path(value).exists() else None

        commit = environment.get("WHARFINGER_MALICIOUS_COMMIT", "HEAD")
        return cls(path("MALICIOUS_LIST"), path("MALICIOUS_STORE"), commit, path("CLEAN"))


def malicious(places: Places, *, per_family: int) -> list[Archive]:
    """The archives of the list, at most so many of each family: those whose path has the smallest digest."""
    if places.malicious_list is None or places.malicious_store is None:
        return []
    families: dict[str, list[tuple[str, str]]] = {}
    with places.malicious_list.open(newline="", encoding="utf-8") as table:
        for row in csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE):
            families.setdefault(row["family"], []).append((row["path_sha256"], row["path"]))
    store = GitObjects(places.malicious_store, places.commit)
    return [
        Archive(MALICIOUS, family, path, os.path.basename(path), store)  # noqa: PTH119 - a path inside git
        for family, members in sorted(families.items())
        for _, path in sorted(members)[:per_family]
    ]


def clean(places: Places) -> list[Archive]:
    """The clean archives of at most ``LARGEST_BYTES``, sorted by group and name."""
    if places.clean is None:
        return []
    return [
        Archive(group.name, project_of(file.name), str(file), file.name, Files())
        for group in sorted(places.clean.iterdir())
        if group.is_dir()
        for file in sorted(group.iterdir())
        if file.name.endswith(_SUFFIXES) and file.stat().st_size <= LARGEST_BYTES and is_for_development(file.name)
    ]


def is_for_development(filename: str) -> bool:
    """The project is of the half that rules may be made from."""
    return hashlib.sha256(project_of(filename).encode()).hexdigest()[0] < "8"


def project_of(filename: str) -> str:
    """The normalised name of the project that a file name begins with (PEP 427, PEP 503, PEP 625)."""
    stem = _stem(filename)
    name = stem.partition("-")[0] if filename.endswith((".whl", ".egg")) else stem.rpartition("-")[0] or stem
    return re.sub(r"[-_.]+", "-", name).lower()


def _stem(filename: str) -> str:
    for suffix in _SUFFIXES:
        filename = filename.removesuffix(suffix)
    return filename


def missing(places: Places) -> Iterator[str]:
    """What is not there, in words."""
    if places.malicious_list is None or places.malicious_store is None:
        yield "no malicious corpus: WHARFINGER_MALICIOUS_LIST and WHARFINGER_MALICIOUS_STORE name none"
    if places.clean is None:
        yield "no clean corpus: WHARFINGER_CLEAN names none"


def described(archives: Sequence[Archive]) -> dict[str, dict[str, int]]:
    """By label: how many archives, of how many families or projects."""
    labels = sorted({archive.label for archive in archives})
    chosen = {label: [archive for archive in archives if archive.label == label] for label in labels}
    return {
        label: {"archives": len(found), "clusters": len({archive.cluster for archive in found})}
        for label, found in chosen.items()
    }
