"""Folders of a ceremony: read without following links, written without overwriting anything.

They are carried on memory sticks, whose file systems often know neither hard links nor renaming without replacing: so
files are made exclusively under their own names, and what is not whole is removed again.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from wharfinger_daemon.ceremony.chain import FILE_NAME, LARGEST
from wharfinger_daemon.ceremony.refusals import invalid
from wharfinger_daemon.ceremony.staging import CONTENT, RECORD, SIGNATURES, TRUST
from wharfinger_daemon.errors import AlreadyExistsError, Reason
from wharfinger_daemon.storage.beneath import EscapeError, open_beneath

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_BYTES = max(LARGEST.values())
_MOST_FILES = 10_000


def read_staged_files(folder: Path) -> dict[str, bytes]:
    """What was staged, without the signatures, by path in the folder. Files that do not belong there are left alone.

    Raises:
        InvalidRequestError: CEREMONY_INVALID; a link, a file that is too large or is none, or it cannot be read.
    """
    names = [name for name in (RECORD, CONTENT) if (folder / name).exists() or (folder / name).is_symlink()]
    names += [TRUST + name for name in _names(folder, TRUST) if FILE_NAME.fullmatch(name)]
    return {name: _read(folder, name) for name in names}


def read_signature_files(folder: Path) -> dict[str, bytes]:
    """All that may be signatures, by name in ``signatures/``; errors as above."""
    names = [name for name in _names(folder, SIGNATURES) if not name.startswith(".")]
    return {name: _read(folder, SIGNATURES + name) for name in names}


def read_metadata_files(folder: Path) -> dict[str, bytes]:
    """All versions of root, targets and ``bins`` in a folder of metadata, which may hold any other files; errors as
    above."""
    if not folder.is_dir():
        raise invalid(f"{folder} is no folder. The ceremony file names it as the one with the repository's metadata.")
    return {name: _read(folder, name) for name in _names(folder, "") if FILE_NAME.fullmatch(name)}


def create_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Makes a folder with these files, whole or not at all.

    Raises:
        AlreadyExistsError: something of that name is there.
        OSError: it cannot be written.
    """
    try:
        folder.mkdir()
    except FileExistsError as error:
        raise _exists(folder) from error
    try:
        for name in {str(PurePosixPath(path).parent) for path in (*files, SIGNATURES + "none")} - {"."}:
            (folder / name).mkdir()
        for path, content in files.items():
            create_files((folder / path).parent, {PurePosixPath(path).name: content})
    except BaseException:
        shutil.rmtree(folder)
        raise


def create_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes new files into a folder, all or none.

    Raises:
        AlreadyExistsError: one is there.
        OSError: one cannot be written.
    """
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    made: list[str] = []
    try:
        for name, content in files.items():
            with _exclusive(folder, directory, name, made) as descriptor:
                _write(descriptor, content)
        os.fsync(directory)
    except BaseException:
        for name in made:
            os.unlink(name, dir_fd=directory)
        raise
    finally:
        os.close(directory)


def add_signature(folder: Path, name: str, content: bytes) -> bytes:
    """Writes a new signature, and returns what can be read of it afterwards.

    Raises:
        AlreadyExistsError: a file of that name is there.
        InvalidRequestError: CEREMONY_INVALID; ``signatures`` is a link.
        OSError: it cannot be written.
    """
    signatures = folder / SIGNATURES
    if signatures.is_symlink():
        raise invalid(f"{signatures} is a link. Get the folder anew from who staged it.")
    signatures.mkdir(exist_ok=True)
    create_files(signatures, {name: content})
    return _read(folder, SIGNATURES + name)


@contextmanager
def _exclusive(folder: Path, directory: int, name: str, made: list[str]) -> Iterator[int]:
    try:
        descriptor = os.open(name, _CREATE, 0o644, dir_fd=directory)
    except FileExistsError as error:
        raise _exists(folder / name) from error
    made.append(name)
    try:
        yield descriptor
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


def _names(folder: Path, beneath: str) -> Sequence[str]:
    names: list[str] = []
    with suppress(FileNotFoundError):
        names = sorted(path.name for path in (folder / beneath).iterdir())
    if len(names) > _MOST_FILES and beneath:
        raise invalid(f"{folder / beneath} holds {len(names)} files. It is no folder of a ceremony.")
    return names


def _read(folder: Path, name: str) -> bytes:
    path = folder / name
    try:
        descriptor = open_beneath(folder, name)
    except EscapeError as error:
        raise invalid(f"{path} is a link, or beneath one. Replace it by the file itself.") from error
    except OSError as error:
        raise invalid(f"{path} cannot be read: {error.strerror}.") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise invalid(f"{path} is no file.")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(_MOST_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > _MOST_BYTES:
        raise invalid(f"{path} is larger than {_MOST_BYTES} bytes, and no file of a ceremony is.")
    return content


def _exists(path: Path) -> AlreadyExistsError:
    return AlreadyExistsError(
        f"{path} exists already, and nothing is overwritten. Name another place, or find out what it is.",
        reason=Reason.CEREMONY_INVALID,
    )
