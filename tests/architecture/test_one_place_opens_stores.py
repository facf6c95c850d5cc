"""Only one place decides which store holds a repository's metadata."""

from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "daemon" / "wharfinger_daemon"

# `wharfinger init --development` writes the first metadata before there is a configuration to name a store.
ALLOWED = ["bootstrap/stores.py", "cli/development/home.py"]


def test_only_the_factory_makes_a_metadata_directory() -> None:
    """A command that chose for itself would read another store than the daemon publishes to."""
    makers = sorted(
        str(file.relative_to(PACKAGE)) for file in PACKAGE.rglob("*.py") if "MetadataDirectory(" in file.read_text()
    )

    assert ALLOWED == makers
