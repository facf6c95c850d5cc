"""Reviews of verdicts, and indexes for the queue of those that wait."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_ALARMS = sa.text("classification <> 'benign'")
_REVIEWED = sa.text("decision IS NOT NULL")
_QUEUED = ["decision", "project", "score", "finished_at", "scan_id", "classification"]


def upgrade() -> None:
    op.add_column("scans", sa.Column("decision", sa.String(16)))
    for name, columns, where in (
        ("ix_scans_alarms", _QUEUED, _ALARMS),
        ("ix_scans_alarms_by_score", ["decision", "score", "scan_id", "classification"], _ALARMS),
        ("ix_scans_reviewed", _QUEUED, _REVIEWED),
    ):
        op.create_index(name, "scans", columns, sqlite_where=where, postgresql_where=where)
    op.create_table(
        "verdict_reviews",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("scan_id", sa.String(36), nullable=False),
        sa.Column("decision", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("reviewer", sa.String(512), nullable=False),
        sa.Column("decided_at", sa.DateTime(), nullable=False),
        sa.Column("undone_by", sa.String(512), nullable=False),
        sa.Column("undone_at", sa.DateTime()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verdict_reviews")),
        sa.ForeignKeyConstraint(["scan_id"], ["scans.scan_id"], name=op.f("fk_verdict_reviews_scan_id_scans")),
    )
    op.create_index(op.f("ix_verdict_reviews_scan_id"), "verdict_reviews", ["scan_id"])


def downgrade() -> None:
    op.drop_table("verdict_reviews")
    for name in ("ix_scans_reviewed", "ix_scans_alarms_by_score", "ix_scans_alarms"):
        op.drop_index(name, "scans")
    op.drop_column("scans", "decision")
