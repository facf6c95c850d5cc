"""The tables of scanning: results survive what they speak of."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from wharfinger_daemon.storage.column_types import Serial, UtcDateTime

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

# Of partial indexes; SQLite uses them where queries say it in these very words.
NOT_BENIGN = "classification <> 'benign'"
_REVIEWED = "decision IS NOT NULL"

metadata = MetaData(naming_convention=NAMING)

scans = Table(
    "scans",
    metadata,
    Column("scan_id", String(36), primary_key=True),
    Column("subject_kind", String(16), nullable=False),
    Column("project", String(255), nullable=False),
    Column("version", String(255), nullable=False),
    Column("filename", String(512), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("rule_set", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("artifact_path", Text),
    Column("artifact_url", Text),
    Column("classification", String(16)),
    Column("confidence", String(16)),
    Column("score", Float),
    Column("error", Text, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("submitted_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    # Of the review that stands; null if none does.
    Column("decision", String(16)),
    UniqueConstraint("subject_kind", "project", "version", "filename", "sha256", "rule_set", name="uq_scans_identity"),
    Index(None, "submitted_at", "scan_id"),
    Index(None, "project", "submitted_at"),
    Index(None, "sha256"),
    Index(None, "state", "submitted_at"),
)
# With all that the queue is made from, so that no row is looked at but the few that are shown.
_QUEUED = [scans.c[name] for name in ("decision", "project", "score", "finished_at", "scan_id", "classification")]
_SCORED = [scans.c[name] for name in ("decision", "score", "scan_id", "classification")]
Index("ix_scans_alarms", *_QUEUED, sqlite_where=text(NOT_BENIGN), postgresql_where=text(NOT_BENIGN))
Index("ix_scans_alarms_by_score", *_SCORED, sqlite_where=text(NOT_BENIGN), postgresql_where=text(NOT_BENIGN))
Index("ix_scans_reviewed", *_QUEUED, sqlite_where=text(_REVIEWED), postgresql_where=text(_REVIEWED))

findings = Table(
    "findings",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("scan_id", ForeignKey(scans.c.scan_id), nullable=False),
    Column("check_name", String(64), nullable=False),
    Column("check_version", String(64), nullable=False),
    Column("rule", String(128), nullable=False),
    Column("member", Text, nullable=False),
    Column("line", Integer, nullable=False),
    Column("excerpt", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("weight", Float, nullable=False),
    Index(None, "scan_id"),
)

# What people decided about verdicts. No row is ever removed: one that was undone says so.
verdict_reviews = Table(
    "verdict_reviews",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("scan_id", ForeignKey(scans.c.scan_id), nullable=False),
    Column("decision", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("reviewer", String(512), nullable=False),
    Column("decided_at", UtcDateTime, nullable=False),
    Column("undone_by", String(512), nullable=False),
    Column("undone_at", UtcDateTime),
    Index(None, "scan_id"),
)
