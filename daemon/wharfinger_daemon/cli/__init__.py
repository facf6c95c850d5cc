"""The command line. Exit status: 0 done, 1 found something wrong, 2 used wrongly or could not run, 78 a configuration
that must not be retried.
"""

from wharfinger_daemon.cli.program import main

__all__ = ["main"]
