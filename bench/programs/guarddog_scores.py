"""Scores archives with guarddog's source rules, run by guarddog's own interpreter: nothing of ours is imported.

Reads, again and again, a line of JSON ``{"name": …, "size": …}`` and so many bytes; writes a line of JSON ``{"name": …,
"score": …, "seconds": …}`` for each, or ``{"name": …, "error": …}``. An archive is unpacked into a scratch folder and
removed before the next. Rules that ask an index or download lists are left out, so that nothing uses the network.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

MOST_BYTES = 300 << 20


def analyser() -> Any:
    """guarddog's analyser without its metadata detectors, whose construction downloads lists of names."""
    from guarddog.analyzer import analyzer as module
    from guarddog.ecosystems import ECOSYSTEM

    module.get_metadata_detectors = lambda _: {}
    return module.Analyzer(ECOSYSTEM.PYPI)


def unpack(content: bytes, folder: Path) -> None:
    """Regular files only, nothing outside the folder.

    Raises:
        ValueError: it unpacks to too much.
    """
    if content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MOST_BYTES:
                raise ValueError("too large")
            archive.extractall(folder)
    else:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            files = [entry for entry in archive if entry.isfile()]
            if sum(entry.size for entry in files) > MOST_BYTES:
                raise ValueError("too large")
            archive.extractall(folder, members=files, filter="data")


def scored(engine: Any, content: bytes) -> dict[str, object]:
    """The risk score from 0 to 10; 5 is where guarddog begins to call a package suspicious."""
    with tempfile.TemporaryDirectory(prefix="scored-") as folder:
        unpack(content, Path(folder))
        started = time.process_time()
        results = engine.analyze_sourcecode(folder)
        risk = engine.calculate_package_risk_score(results)
        return {"score": float(risk["score"]), "seconds": round(time.process_time() - started, 4)}


def main() -> None:
    engine = analyser()
    while header := sys.stdin.buffer.readline():
        asked = json.loads(header)
        content = sys.stdin.buffer.read(asked["size"])
        try:
            answer = scored(engine, content)
        except Exception as error:  # noqa: BLE001 - whatever a hostile archive makes of it
            answer = {"error": type(error).__name__}
        print(json.dumps({"name": asked["name"], **answer}), flush=True)


main()
