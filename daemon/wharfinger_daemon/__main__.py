"""``python -m wharfinger_daemon`` is the program ``wharfinger``."""

from wharfinger_daemon.cli import main

main(prog_name="wharfinger")
