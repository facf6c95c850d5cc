"""``wharfinger checks``."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from wharfinger_daemon.cli.program import json_option, print_json
from wharfinger_daemon.scanning.registry import load_checks, rule_set_version


@click.group()
def checks() -> None:
    """Look at the checks that scans run."""


@checks.command(name="list")
@json_option
def list_checks(as_json: bool) -> None:
    """List the installed checks, built-in ones and plug-ins, and the version of the rule set that they make."""
    loaded = load_checks()
    rule_set = rule_set_version(loaded.checks)
    if as_json:
        print_json(
            {
                "rule_set": rule_set,
                "checks": [
                    {"name": check.name, "version": check.version, "subjects": sorted(check.subjects)}
                    for check in loaded.checks
                ],
                "failures": [{"name": failure.name, "why": failure.why} for failure in loaded.failures],
            }
        )
        return
    table = Table("check", "version", "subjects", box=None, pad_edge=False)
    for check in loaded.checks:
        table.add_row(check.name, check.version, ", ".join(sorted(check.subjects)))
    Console(highlight=False).print(table)
    for failure in loaded.failures:
        click.echo(f"The check '{failure.name}' does not load: {failure.why}", err=True)
    click.echo(f"rule set {rule_set}")
