"""The versions that a snapshot names: kept in memory as encoded entries, of which a publication changes a few."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping


class RoleVersions:
    """Versions by role.

    Encoding 16,384 of them from scratch costs more than hashing and signing them; joining encoded entries does not.

    Args:
        versions: by role name: lower-case letters, digits and dashes.
    """

    def __init__(self, versions: Mapping[str, int]) -> None:
        self._versions = dict(versions)
        # Sorted with their ending: a dash comes before a full stop, so "bins-0.json" before "bins.json".
        self._names = sorted(f"{role}.json" for role in versions)
        self._entries = [_entry(name, self._versions[name.removesuffix(".json")]) for name in self._names]

    @property
    def versions(self) -> Mapping[str, int]:
        """All of them."""
        return self._versions

    def set(self, role: str, version: int) -> None:
        """Names another version of a role, or a role that was not named before."""
        name = f"{role}.json"
        place = bisect_left(self._names, name)
        if role in self._versions:
            self._entries[place] = _entry(name, version)
        else:
            self._names.insert(place, name)
            self._entries.insert(place, _entry(name, version))
        self._versions[role] = version

    def encoded(self) -> bytes:
        """The members of the snapshot's ``meta`` in canonical JSON, between the braces."""
        return b",".join(self._entries)


def _entry(name: str, version: int) -> bytes:
    return f'"{name}":{{"version":{version}}}'.encode("ascii")
