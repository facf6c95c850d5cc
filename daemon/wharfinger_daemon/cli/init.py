"""``wharfinger init``."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from wharfinger_daemon.bin_delegation import DelegationForm
from wharfinger_daemon.cli.program import home_directory, json_option, print_json
from wharfinger_daemon.clock import SystemClock


@click.command()
@click.option("--development", is_flag=True, help="Make a development home. Nothing else can be made yet.")
@click.option(
    "--home",
    type=click.Path(path_type=Path),
    help="The folder. By default $WHARFINGER_HOME, or .wharfinger here.",
)
@click.option(
    "--bins",
    type=click.Choice([str(2**bits) for bits in range(1, 15)]),
    default="16",
    show_default=True,
    help="The number of hash bins. It is fixed with the first ceremony.",
)
@click.option(
    "--delegation",
    type=click.Choice([form.value for form in DelegationForm]),
    default=DelegationForm.SUCCINCT.value,
    show_default=True,
    help="How bins are delegated to: by TAP 15, or, for clients that do not know it, by a role for each bin.",
)
@json_option
def init(development: bool, home: Path | None, bins: str, delegation: str, as_json: bool) -> None:
    """Make everything that a daemon needs.

    With --development: TLS certificates, a SoftHSM token with its keys, a root ceremony with keys in files, a signed
    repository, a database and a configuration, all in one folder. What is there already is left alone. The root's keys
    lie beside the online keys: never use such a repository in production.
    """
    if not development:
        raise click.UsageError(
            "Only a development home can be made by one command: add --development. In production, keys are made in a "
            "ceremony on a machine that is not online."
        )
    # Imported here because it needs the packages of a signing host.
    from wharfinger_daemon.cli.development.home import create_home, require_usable
    from wharfinger_daemon.metadata.bins import HashBins

    home = (home or home_directory()).absolute()
    require_usable(home)
    steps: list[str] = []

    def tell(step: str) -> None:
        steps.append(step)
        click.echo(f"  {step}", err=True)

    hash_bins = HashBins.of_number(int(bins), DelegationForm(delegation))
    asyncio.run(create_home(home, bins=hash_bins, clock=SystemClock(), tell=tell))
    if as_json:
        print_json({"home": str(home), "steps": steps})
    elif steps:
        click.echo(f"The development home {home} is ready.", err=True)
