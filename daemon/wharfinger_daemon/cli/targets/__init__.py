"""``wharfinger targets import``, ``add`` and ``remove``: what the repository lists."""

from wharfinger_daemon.cli.targets.changing import add_target, remove_targets
from wharfinger_daemon.cli.targets.importing import import_rows

__all__ = ["add_target", "import_rows", "remove_targets"]
