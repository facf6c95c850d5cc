"""Compares a repository with what was seen of it before: nothing goes back, and no version has two contents."""

from __future__ import annotations

from wharfinger_daemon.metadata.verification.findings import Report, Rule


def compare(before: Report, now: Report) -> None:
    """Reports to ``now`` what cannot have come after ``before``.

    Args:
        before: of an earlier copy of the repository, verified likewise.
    """
    for role, version in before.versions.items():
        newer = now.versions.get(role)
        if newer is None:
            now.error(_file(role, version), Rule.ROLLBACK, f"version {version} was there before, and '{role}' is gone")
        elif newer < version:
            now.error(
                _file(role, newer), Rule.ROLLBACK, f"it is version {newer}, and version {version} was there before"
            )
    for file, digest in before.digests.items():
        present = now.digests.get(file)
        if file == "timestamp.json" and before.versions["timestamp"] != now.versions.get("timestamp"):
            continue
        if present is not None and present != digest:
            now.error(file, Rule.EQUIVOCATION, f"its SHA-256 is {present}, and was {digest} before in the same version")


def _file(role: str, version: int) -> str:
    return "timestamp.json" if role == "timestamp" else f"{version}.{role}.json"
