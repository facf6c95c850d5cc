"""Loads all that a worker will ever need, because later it can open no file."""

from __future__ import annotations

import contextlib
import encodings
import gc
import importlib
import io
import pkgutil
import sys
import tarfile
import zipfile
from importlib.metadata import EntryPoint

from wharfinger_daemon.sandbox.settings import CheckSource
from wharfinger_daemon.scanning.engine import Engine
from wharfinger_daemon.scanning.model import Subject, SubjectKind
from wharfinger_daemon.scanning.plugin import ENTRY_POINT_GROUP
from wharfinger_daemon.scanning.registry import LoadedChecks, load_checks

_SOURCE = b"# -*- coding: latin-1 -*-\nimport os\n\n\ndef f(x: int) -> str:\n    return f'{x}'\n"
# With Python's own 700, a third of the time for a syntax tree goes into such searches; this many are some megabytes.
_OBJECTS_BEFORE_SEARCH = 50_000
_BROKEN_SOURCE = b"def broken(:\n"


def loaded_checks(source: CheckSource) -> LoadedChecks:
    """The checks that the settings name.

    Raises:
        BuiltInCheckError: as from ``load_checks``.
    """
    sys.path.extend(source.import_paths)
    if source.classes is None:
        return load_checks()
    return load_checks(
        EntryPoint(name=name.rpartition(":")[2], value=name, group=ENTRY_POINT_GROUP) for name in source.classes
    )


def import_codecs() -> None:
    """Imports every text encoding: source code names its own, and Python would look for it on the disk."""
    for module in pkgutil.iter_modules(encodings.__path__):
        # Those of other systems do not load, and cannot be asked for here either.
        with contextlib.suppress(ImportError):
            importlib.import_module(f"encodings.{module.name}")


def try_out(engine: Engine) -> None:
    """Examines two small artifacts, so that whatever is imported or started on first use is there.

    All checks see all of them: YARA-X, for one, starts a thread at the first scan, which a worker may not later.
    """
    for filename, artifact in (
        ("sample-1.0.tar.gz", _sample_sdist()),
        ("sample-1.0-py3-none-any.whl", _sample_wheel()),
    ):
        subject = Subject(kind=SubjectKind.FILE, project="sample", version="1.0", filename=filename)
        engine.examine(io.BytesIO(artifact), subject, everything=True)


def settle_memory() -> None:
    """Makes the search for garbage rare: syntax trees are many objects and no garbage, and what is loaded stays."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_BEFORE_SEARCH, 20, 100)


def _sample_sdist() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in _members("sample-1.0/"):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _sample_wheel() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for (name, content), method in zip(
            _members(""), (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_STORED), strict=False
        ):
            archive.writestr(name, content, compress_type=method)
    return buffer.getvalue()


def _members(prefix: str) -> list[tuple[str, bytes]]:
    return [
        (prefix + "setup.py", _SOURCE),
        (prefix + "sample/__init__.py", _SOURCE),
        (prefix + "broken.py", _BROKEN_SOURCE),
        (prefix + "sample.pth", b"import sample\n"),
    ]
