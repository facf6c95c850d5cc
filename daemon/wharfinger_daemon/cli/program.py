"""The program ``wharfinger`` and how it reports errors."""

from __future__ import annotations

import importlib
import json
import os
import sys
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
        try:
            return super().invoke(ctx)
        except WharfingerError as error:
            fail(error)
        except BrokenPipeError:
            # The reader of our output went away, as `head` does; there is nobody to tell.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(EXIT_FOUND_SOMETHING)


@click.group(cls=_Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="wharfinger")
def main() -> None:
    """Signs TUF metadata with keys in an HSM, publishes a PEP 458 repository, and scans uploads for malware."""


def fail(error: WharfingerError) -> NoReturn:
    """Says on standard error what happened, and ends with the status that fits."""
    click.echo(f"wharfinger: {error.message}", err=True)
    sys.exit(EXIT_DO_NOT_RETRY if isinstance(error, FatalConfigurationError) else EXIT_COULD_NOT_RUN)


def print_json(value: Any) -> None:
    """One JSON value, on one line, at once."""
    click.echo(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    sys.stdout.flush()


def home_directory() -> Path:
    """Where a development daemon keeps everything: ``$WHARFINGER_HOME``, or ``.wharfinger`` here."""
    return Path(os.environ.get("WHARFINGER_HOME", ".wharfinger")).absolute()


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
