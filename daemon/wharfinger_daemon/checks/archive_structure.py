"""The check ``archive-structure``: what the opener found odd in the archive itself.

Its rules are the opener's anomalies, one for one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from wharfinger_daemon.scanning.plugin import Anomaly, Evidence, FileCheck


class ArchiveStructureCheck(FileCheck):
    """Turns anomalies into findings."""

    name = "archive-structure"
    version = "1"

    def anomalies(self, anomalies: Iterable[Anomaly]) -> Iterator[Evidence]:
        for anomaly in anomalies:
            yield Evidence(rule=anomaly.rule, message=anomaly.message, member=anomaly.member, excerpt="")
