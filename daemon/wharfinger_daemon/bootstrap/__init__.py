"""The composition root: the only place that chooses implementations and wires them.

One module for each job (``signing``, ``metadata``, ``scanning``), one for the ``servers``, and ``daemon``, which opens
them in order. Everything that is opened goes onto one exit stack, and is closed in reverse order whatever happens.
"""

from wharfinger_daemon.bootstrap.daemon import Daemon, open_daemon
from wharfinger_daemon.bootstrap.metadata import publish_once
from wharfinger_daemon.bootstrap.scanning import open_sandbox

__all__ = ["Daemon", "open_daemon", "open_sandbox", "publish_once"]
