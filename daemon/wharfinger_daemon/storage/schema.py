"""All tables: here, and in ``scan_schema``. Alembic's migrations in ``migrations/versions`` build them; a test compares
the two.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from wharfinger_daemon.storage import scan_schema
from wharfinger_daemon.storage.column_types import Serial, UtcDateTime, ordered

# All tables of the database hang on it.
metadata = scan_schema.metadata

# ---- The audit log: an RFC 6962 Merkle tree --------------------------------------------------------------------------
# One log for a database. ``origin`` names it in checkpoints; a log that is begun anew has another.
audit_logs = Table(
    "audit_logs",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("origin", String(255), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

# ``position`` is the leaf's index, from 0, without gaps. ``data`` is canonical JSON.
audit_leaves = Table(
    "audit_leaves",
    metadata,
    Column("position", Serial, primary_key=True, autoincrement=False),
    Column("hash", LargeBinary(32), nullable=False),
    Column("data", LargeBinary, nullable=False),
)

# The hash of every complete subtree of 2**level leaves, for the levels 8, 16, 24, …: the others are computed from them.
audit_nodes = Table(
    "audit_nodes",
    metadata,
    Column("level", Integer, primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("hash", LargeBinary(32), nullable=False),
)

# ``note`` is the signed note of C2SP tlog-checkpoint.
audit_checkpoints = Table(
    "audit_checkpoints",
    metadata,
    Column("size", Serial, primary_key=True, autoincrement=False),
    Column("root", LargeBinary(32), nullable=False),
    Column("note", LargeBinary, nullable=False),
    Column("signed_at", UtcDateTime, nullable=False),
)

# ---- Signing: what was promised to the world -------------------------------------------------------------------------
# A row of ledger_entries is durable before the token is asked. ``repository`` is the repository's identity: the
# hexadecimal SHA-256 of its trusted root 1.
ledger_entries = Table(
    "ledger_entries",
    metadata,
    # The leaf of the first signature of this version: it was written in the same transaction.
    Column("leaf", ForeignKey(audit_leaves.c.position), primary_key=True, autoincrement=False),
    Column("repository", String(64), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("role", String(255), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    UniqueConstraint("repository", "epoch", "role", "version"),
)

# One for each key that was to sign a version; the signature comes when the token has made it.
ledger_signatures = Table(
    "ledger_signatures",
    metadata,
    Column("leaf", ForeignKey(audit_leaves.c.position), primary_key=True, autoincrement=False),
    Column("entry", ForeignKey(ledger_entries.c.leaf), nullable=False),
    Column("keyid", String(64), nullable=False),
    Column("signature", LargeBinary),
    UniqueConstraint("entry", "keyid"),
)

# The versions that a signed snapshot or timestamp named: none may ever be named lower, or left out, again.
ledger_floors = Table(
    "ledger_floors",
    metadata,
    Column("repository", String(64), primary_key=True),
    Column("epoch", Integer, primary_key=True),
    Column("role", String(255), primary_key=True),
    Column("name", String(255), primary_key=True),
    Column("version", BigInteger, nullable=False),
)

# The newest epoch of each repository; without a row it is the first.
ledger_epochs = Table(
    "ledger_epochs",
    metadata,
    Column("repository", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("root_version", BigInteger, nullable=False),
    Column("opened_at", UtcDateTime, nullable=False),
)

# ---- Keys ------------------------------------------------------------------------------------------------------------
# The life of each key of a line. ``public_key`` is a DER SubjectPublicKeyInfo.
signing_keys = Table(
    "signing_keys",
    metadata,
    Column("repository", String(64), primary_key=True),
    Column("keyid", String(64), primary_key=True),
    Column("line", String(63), nullable=False),
    Column("state", String(16), nullable=False),
    Column("label", String(128), nullable=False),
    Column("public_key", LargeBinary, nullable=False),
    Column("keytype", String(32), nullable=False),
    Column("scheme", String(64), nullable=False),
    Column("generated_at", UtcDateTime, nullable=False),
    Column("published_at", UtcDateTime),
    Column("activated_at", UtcDateTime),
    Column("retired_at", UtcDateTime),
    Column("destroyed_at", UtcDateTime),
    Index(None, "repository", "line", "state"),
)

# While a row is there, nothing is signed for the repository.
signing_suspensions = Table(
    "signing_suspensions",
    metadata,
    Column("repository", String(64), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("caller", String(255), nullable=False),
    Column("since", UtcDateTime, nullable=False),
)

# ---- Metadata: the rows are the truth, published files their image ---------------------------------------------------
targets = Table(
    "targets",
    metadata,
    Column("repository", String(64), primary_key=True),
    # What the path leads to, so that a path has one row.
    Column("bin", ordered(255), primary_key=True),
    Column("path", ordered(1024), primary_key=True),
    Column("length", BigInteger, nullable=False),
    Column("hashes", Text, nullable=False),
    sqlite_with_rowid=False,
)

# The newest version of every role but root, prepared or published: online ones as the rows stand for them, offline ones
# as the newest snapshot names them.
metadata_roles = Table(
    "metadata_roles",
    metadata,
    Column("repository", String(64), primary_key=True),
    Column("role", ordered(255), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("expires", UtcDateTime, nullable=False),
    # Of the key that the version is signed with, chosen when it was prepared; empty for offline roles.
    Column("keyid", String(64), nullable=False, server_default=""),
    Index(None, "repository", "expires"),
)

# Bins whose rows were changed in bulk, and whose published file does not say so yet. The next publication has them.
unpublished_bins = Table(
    "unpublished_bins",
    metadata,
    Column("repository", String(64), primary_key=True),
    Column("role", String(255), primary_key=True),
)

# How far the import of a file came, written with the rows of each chunk, and gone once all of it is published.
target_imports = Table(
    "target_imports",
    metadata,
    Column("repository", String(64), primary_key=True),
    # What was read: so many bytes in so many lines, with this SHA-256.
    Column("offset", BigInteger, nullable=False),
    Column("lines", BigInteger, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("added", BigInteger, nullable=False),
    Column("replaced", BigInteger, nullable=False),
    Column("unchanged", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
)

# A publication is prepared in the transaction that changes the rows, and published once clients can see it. At most
# one is prepared at a time: a restart finishes it, with the same versions and the same bytes.
publications = Table(
    "publications",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("repository", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("snapshot_version", BigInteger, nullable=False),
    Column("timestamp_version", BigInteger, nullable=False),
    Column("prepared_at", UtcDateTime, nullable=False),
    Column("published_at", UtcDateTime),
    UniqueConstraint("repository", "timestamp_version"),
    Index(None, "repository", "state"),
)

publication_bins = Table(
    "publication_bins",
    metadata,
    Column("publication_id", ForeignKey(publications.c.id, ondelete="CASCADE"), primary_key=True),
    Column("role", String(255), primary_key=True),
    Column("version", BigInteger, nullable=False),
)

# Changes that a daemon took that does not publish, in the order in which they came, with what came of them.
queued_changes = Table(
    "queued_changes",
    metadata,
    Column("number", Serial, primary_key=True),
    Column("repository", String(64), nullable=False),
    Column("change", Text, nullable=False),
    Column("outcome", Text),
    Column("settled_at", UtcDateTime),
    Index(None, "repository", "settled_at"),
)

# ---- PostgreSQL: who writes ledger and log ---------------------------------------------------------------------------
# One row, whose lock is the turn to write (see ``postgresql_backend``); SQLite has one writer at a time by itself.
# ``number`` counts the turns, ``token`` the processes that were the sole signer one after another.
writing_turns = Table(
    "writing_turns",
    metadata,
    Column("number", BigInteger, nullable=False),
    Column("token", BigInteger, nullable=False),
)
