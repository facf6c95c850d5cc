"""First schema."""

import sqlalchemy as sa
from alembic import op

from wharfinger_daemon.storage.column_types import UtcDateTime

revision = "0002"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_checkpoints",
        sa.Column("size", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("root", sa.LargeBinary(length=32), nullable=False),
        sa.Column("note", sa.LargeBinary(), nullable=False),
        sa.Column("signed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("size", name=op.f("pk_audit_checkpoints")),
    )
    op.create_table(
        "audit_leaves",
        sa.Column(
            "position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_audit_leaves")),
    )
    op.create_table(
        "audit_logs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("origin", sa.String(length=255), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_logs")),
    )
    op.create_table(
        "audit_nodes",
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("level", "position", name=op.f("pk_audit_nodes")),
    )
    op.create_table(
        "ledger_epochs",
        sa.Column("repository", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("root_version", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("repository", "number", name=op.f("pk_ledger_epochs")),
    )
    op.create_table(
        "ledger_floors",
        sa.Column("repository", sa.String(length=64), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("repository", "epoch", "role", "name", name=op.f("pk_ledger_floors")),
    )
    op.create_table(
        "metadata_roles",
        sa.Column("repository", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=255), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("expires", UtcDateTime(), nullable=False),
        sa.Column("keyid", sa.String(length=64), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("repository", "role", name=op.f("pk_metadata_roles")),
    )
    with op.batch_alter_table("metadata_roles", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_metadata_roles_repository_expires"), ["repository", "expires"], unique=False
        )

    op.create_table(
        "publications",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("repository", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("snapshot_version", sa.BigInteger(), nullable=False),
        sa.Column("timestamp_version", sa.BigInteger(), nullable=False),
        sa.Column("prepared_at", UtcDateTime(), nullable=False),
        sa.Column("published_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_publications")),
        sa.UniqueConstraint(
            "repository", "timestamp_version", name=op.f("uq_publications_repository_timestamp_version")
        ),
    )
    with op.batch_alter_table("publications", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_publications_repository_state"), ["repository", "state"], unique=False)

    op.create_table(
        "scans",
        sa.Column("scan_id", sa.String(length=36), nullable=False),
        sa.Column("subject_kind", sa.String(length=16), nullable=False),
        sa.Column("project", sa.String(length=255), nullable=False),
        sa.Column("version", sa.String(length=255), nullable=False),
        sa.Column("filename", sa.String(length=512), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("rule_set", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("artifact_path", sa.Text(), nullable=True),
        sa.Column("artifact_url", sa.Text(), nullable=True),
        sa.Column("classification", sa.String(length=16), nullable=True),
        sa.Column("confidence", sa.String(length=16), nullable=True),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("submitted_at", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("scan_id", name=op.f("pk_scans")),
        sa.UniqueConstraint(
            "subject_kind", "project", "version", "filename", "sha256", "rule_set", name="uq_scans_identity"
        ),
    )
    with op.batch_alter_table("scans", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_scans_project_submitted_at"), ["project", "submitted_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_scans_sha256"), ["sha256"], unique=False)
        batch_op.create_index(batch_op.f("ix_scans_state_submitted_at"), ["state", "submitted_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_scans_submitted_at_scan_id"), ["submitted_at", "scan_id"], unique=False)

    op.create_table(
        "signing_keys",
        sa.Column("repository", sa.String(length=64), nullable=False),
        sa.Column("keyid", sa.String(length=64), nullable=False),
        sa.Column("line", sa.String(length=63), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("label", sa.String(length=128), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("keytype", sa.String(length=32), nullable=False),
        sa.Column("scheme", sa.String(length=64), nullable=False),
        sa.Column("generated_at", UtcDateTime(), nullable=False),
        sa.Column("published_at", UtcDateTime(), nullable=True),
        sa.Column("activated_at", UtcDateTime(), nullable=True),
        sa.Column("retired_at", UtcDateTime(), nullable=True),
        sa.Column("destroyed_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("repository", "keyid", name=op.f("pk_signing_keys")),
    )
    with op.batch_alter_table("signing_keys", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_signing_keys_repository_line_state"), ["repository", "line", "state"], unique=False
        )

    op.create_table(
        "signing_suspensions",
        sa.Column("repository", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("caller", sa.String(length=255), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("repository", name=op.f("pk_signing_suspensions")),
    )
    op.create_table(
        "targets",
        sa.Column("repository", sa.String(length=64), nullable=False),
        sa.Column("path", sa.String(length=1024), nullable=False),
        sa.Column("bin", sa.String(length=255), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("hashes", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("repository", "path", name=op.f("pk_targets")),
    )
    with op.batch_alter_table("targets", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_targets_repository_bin_path"), ["repository", "bin", "path"], unique=False)

    op.create_table(
        "findings",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("scan_id", sa.String(length=36), nullable=False),
        sa.Column("check_name", sa.String(length=64), nullable=False),
        sa.Column("check_version", sa.String(length=64), nullable=False),
        sa.Column("rule", sa.String(length=128), nullable=False),
        sa.Column("member", sa.Text(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("excerpt", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["scan_id"], ["scans.scan_id"], name=op.f("fk_findings_scan_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_findings")),
    )
    with op.batch_alter_table("findings", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_findings_scan_id"), ["scan_id"], unique=False)

    op.create_table(
        "ledger_entries",
        sa.Column("leaf", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("repository", sa.String(length=64), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(length=255), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.ForeignKeyConstraint(["leaf"], ["audit_leaves.position"], name=op.f("fk_ledger_entries_leaf")),
        sa.PrimaryKeyConstraint("leaf", name=op.f("pk_ledger_entries")),
        sa.UniqueConstraint(
            "repository", "epoch", "role", "version", name=op.f("uq_ledger_entries_repository_epoch_role_version")
        ),
    )
    op.create_table(
        "publication_bins",
        sa.Column("publication_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("role", sa.String(length=255), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["publication_id"], ["publications.id"], name=op.f("fk_publication_bins_publication_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("publication_id", "role", name=op.f("pk_publication_bins")),
    )
    op.create_table(
        "ledger_signatures",
        sa.Column("leaf", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("entry", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("keyid", sa.String(length=64), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["entry"], ["ledger_entries.leaf"], name=op.f("fk_ledger_signatures_entry")),
        sa.ForeignKeyConstraint(["leaf"], ["audit_leaves.position"], name=op.f("fk_ledger_signatures_leaf")),
        sa.PrimaryKeyConstraint("leaf", name=op.f("pk_ledger_signatures")),
        sa.UniqueConstraint("entry", "keyid", name=op.f("uq_ledger_signatures_entry_keyid")),
    )


def downgrade() -> None:
    op.drop_table("ledger_signatures")
    op.drop_table("publication_bins")
    op.drop_table("ledger_entries")
    with op.batch_alter_table("findings", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_findings_scan_id"))

    op.drop_table("findings")
    with op.batch_alter_table("targets", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_targets_repository_bin_path"))

    op.drop_table("targets")
    op.drop_table("signing_suspensions")
    with op.batch_alter_table("signing_keys", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_signing_keys_repository_line_state"))

    op.drop_table("signing_keys")
    with op.batch_alter_table("scans", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_scans_submitted_at_scan_id"))
        batch_op.drop_index(batch_op.f("ix_scans_state_submitted_at"))
        batch_op.drop_index(batch_op.f("ix_scans_sha256"))
        batch_op.drop_index(batch_op.f("ix_scans_project_submitted_at"))

    op.drop_table("scans")
    with op.batch_alter_table("publications", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_publications_repository_state"))

    op.drop_table("publications")
    with op.batch_alter_table("metadata_roles", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_metadata_roles_repository_expires"))

    op.drop_table("metadata_roles")
    op.drop_table("ledger_floors")
    op.drop_table("ledger_epochs")
    op.drop_table("audit_nodes")
    op.drop_table("audit_logs")
    op.drop_table("audit_leaves")
    op.drop_table("audit_checkpoints")
