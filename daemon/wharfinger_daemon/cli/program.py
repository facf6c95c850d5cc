"""The program ``wharfinger`` and how it reports errors."""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

import click

from wharfinger_daemon.errors import FatalConfigurationError, WharfingerError

EXIT_FOUND_SOMETHING = 1
EXIT_COULD_NOT_RUN = 2
EXIT_DO_NOT_RETRY = 78

# Modules are imported when their command runs: scanning wants no gRPC, and signing no YARA.
_COMMANDS = {
    "serve": "wharfinger_daemon.cli.serve:serve",
    "init": "wharfinger_daemon.cli.init:init",
    "config": "wharfinger_daemon.cli.configuration:configuration",
    "scan": "wharfinger_daemon.cli.scan:scan",
    "checks": "wharfinger_daemon.cli.checks:checks",
    "health": "wharfinger_daemon.cli.health:health",
    "keys": "wharfinger_daemon.cli.keys:keys",
    "root": "wharfinger_daemon.cli.ceremony:root",
    "targets": "wharfinger_daemon.cli.ceremony:targets",
    "bins": "wharfinger_daemon.cli.ceremony:bins",
    "metadata": "wharfinger_daemon.cli.metadata:metadata",
    "verify-repository": "wharfinger_daemon.cli.verify_repository:verify_repository",
    "signing": "wharfinger_daemon.cli.signing:signing",
    "audit": "wharfinger_daemon.cli.audit:audit",
    "ledger": "wharfinger_daemon.cli.ledger:ledger",
    "db": "wharfinger_daemon.cli.database:database",
}


class _Program(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        location = _COMMANDS.get(cmd_name)
        if location is None:
            return None
        module, _, name = location.partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        # Whatever ends a command, the status must not say 1: that would mean that a threat was found.
        _repair_streams()
        try:
            return super().invoke(ctx)
        except WharfingerError as error:
            fail(error)
        except KeyboardInterrupt:
            click.echo("wharfinger: interrupted.", err=True)
        except BrokenPipeError:
            # The reader of our output went away, as `head` does; there is nobody to tell.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            click.echo(f"wharfinger: {error}", err=True)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception:  # noqa: BLE001  # Ends the program, with everything that is known.
            click.echo(f"{traceback.format_exc()}wharfinger: this is a mistake in wharfinger; report it.", err=True)
        sys.exit(EXIT_COULD_NOT_RUN)


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="wharfinger")
def main() -> None:
    """Signs TUF metadata with keys in an HSM, publishes a PEP 458 repository, and scans uploads for malware."""


def fail(error: WharfingerError) -> NoReturn:
    """Says on standard error what happened, and ends with the status that fits."""
    click.echo(f"wharfinger: {error.message}", err=True)
    sys.exit(EXIT_DO_NOT_RETRY if isinstance(error, FatalConfigurationError) else EXIT_COULD_NOT_RUN)


def _repair_streams() -> None:
    # Where a standard descriptor is closed, the next file that is opened would take its number, and get our output.
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115  # lives as long as the program
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file's name may be any bytes, and a terminal may lack any character.
            stream.reconfigure(errors="backslashreplace")


def print_json(value: Any) -> None:
    """One JSON value, on one line, at once; in ASCII, so that no terminal, locale or file name can spoil it."""
    click.echo(json.dumps(value, separators=(",", ":")))
    sys.stdout.flush()


def home_directory() -> Path:
    """Where a development daemon keeps everything: ``$WHARFINGER_HOME``, or ``.wharfinger`` here."""
    return Path(os.environ.get("WHARFINGER_HOME") or ".wharfinger").absolute()


config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="WHARFINGER_CONFIG",
    show_envvar=True,
    help="The configuration file. By default config.toml in $WHARFINGER_HOME, or in .wharfinger here.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def configuration_file(config_path: Path | None) -> Path:
    """The file that was named, or that of the home directory."""
    return config_path or home_directory() / "config.toml"
