"""What opening an artifact brought to light, kept within bounds whatever the artifact does."""

from __future__ import annotations

from dataclasses import dataclass, field

from wharfinger_daemon.scanning.archives.limits import LimitReached
from wharfinger_daemon.scanning.archives.names import printable
from wharfinger_daemon.scanning.model import Unread
from wharfinger_daemon.scanning.plugin import Anomaly

ANOMALIES_PER_RULE = 20
MAX_UNREAD = 50


@dataclass
class Notebook:
    """All observations of one artifact.

    A rule is noted ``ANOMALIES_PER_RULE`` times at most: more of the same tells nothing new. Of unread parts the first
    ``MAX_UNREAD`` are named, and that there are more.
    """

    anomalies: list[Anomaly] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=dict)

    def anomaly(self, anomaly: Anomaly) -> None:
        """Notes an anomaly, unless there are enough of its rule."""
        count = self._counts.get(anomaly.rule, 0)
        if count < ANOMALIES_PER_RULE:
            self._counts[anomaly.rule] = count + 1
            self.anomalies.append(anomaly)

    def skipped(self, unread: Unread) -> None:
        """Notes that a part was not read."""
        if len(self.unread) < MAX_UNREAD:
            self.unread.append(unread)
        elif len(self.unread) == MAX_UNREAD:
            self.unread.append(Unread(member="", why=f"more than {MAX_UNREAD} parts were not read"))


@dataclass(frozen=True)
class Observer:
    """Notes what is seen in one archive; ``prefix`` is where that archive stands, such as ``data.zip!/``."""

    notebook: Notebook
    prefix: str = ""

    @property
    def place(self) -> str:
        """The archive itself: its name as a member, empty for the outermost."""
        return self.prefix.removesuffix("!/")

    def where(self, name: str) -> str:
        """The full, printable name of a member of this archive; the archive's own place for an empty name."""
        return self.prefix + printable(name) if name else self.place

    def note(self, rule: str, message: str, name: str = "") -> None:
        """Something is odd, and all of it can still be read."""
        self.notebook.anomaly(Anomaly(rule=rule, message=message, member=self.where(name)))

    def skip(self, rule: str, message: str, name: str = "") -> None:
        """Something is odd, and for that reason a part is not read."""
        self.note(rule, message, name)
        self.notebook.skipped(Unread(member=self.where(name), why=f"{rule}: {message}"))

    def stop(self, reached: LimitReached, name: str = "") -> None:
        """A limit ends the reading here."""
        self.skip(reached.rule, str(reached), name)
