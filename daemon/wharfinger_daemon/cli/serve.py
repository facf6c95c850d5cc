"""``wharfinger serve``."""

from __future__ import annotations

from pathlib import Path

import click

from wharfinger_daemon import config, lifecycle
from wharfinger_daemon.cli.program import config_option, configuration_file


@click.command()
@config_option
def serve(config_path: Path | None) -> None:
    """Run the daemon.

    Prints one line with its addresses when it is ready. SIGTERM or SIGINT drains it: running requests are finished,
    new ones refused, then it ends with status 0. It ends with status 78 if it must not be started again as it is.
    """
    lifecycle.run(config.load(configuration_file(config_path)))
