"""``wharfinger health``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import urllib3

from wharfinger_daemon import config
from wharfinger_daemon.cli.program import (
    EXIT_COULD_NOT_RUN,
    EXIT_FOUND_SOMETHING,
    config_option,
    configuration_file,
    json_option,
    print_json,
)


@click.command()
@config_option
@json_option
def health(config_path: Path | None, as_json: bool) -> None:
    """Ask the running daemon whether it can do its work.

    Ends with status 0 if it can, 1 if it says that it cannot, 2 if it does not answer.
    """
    address = config.load(configuration_file(config_path)).http.address
    state = _ask(address)
    if as_json:
        print_json(state)
    elif state["ready"]:
        click.echo(f"The daemon at {address} is ready.")
    else:
        click.echo(f"The daemon at {address} is not ready: {'; '.join(state['problems'])}")
    if not state["ready"]:
        sys.exit(EXIT_FOUND_SOMETHING if state["answered"] else EXIT_COULD_NOT_RUN)


def _ask(address: str) -> dict[str, Any]:
    try:
        response = urllib3.request("GET", f"http://{address}/readyz", timeout=10, retries=False, redirect=False)
        told = response.json()
        return {"answered": True, "ready": told["ready"] is True, "problems": [str(one) for one in told["problems"]]}
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        return {"answered": False, "ready": False, "problems": [f"it does not answer: {error}"]}
    except (KeyError, TypeError):
        return {"answered": False, "ready": False, "problems": ["what answers is no wharfinger"]}
