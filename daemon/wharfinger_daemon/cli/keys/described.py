"""A key in words and in JSON, and how one is named."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from wharfinger.keys.v1 import keys_pb2 as wire
from wharfinger_daemon.cli.program import print_json
from wharfinger_daemon.errors import InvalidRequestError, NotFoundError, Reason

_INSTANTS = ("generated_at", "published_at", "activated_at", "retired_at", "destroyed_at")


def state_of(key: wire.LineKey) -> str:
    """The state's name, such as ``active``."""
    name: str = wire.KeyState.Name(key.state)
    return name.removeprefix("KEY_STATE_").lower()


def as_json(key: wire.LineKey, *, token_asked: bool = True) -> dict[str, Any]:
    """What programs are told of a key. ``held`` is null where no token was asked."""
    return {
        "keyid": key.keyid,
        "repository": key.repository,
        "line": key.line,
        "state": state_of(key),
        "keytype": key.keytype,
        "scheme": key.scheme,
        "public_key_pem": key.public_key_pem,
        "label": key.label,
        "held": key.held if token_asked else None,
        "roles": list(key.roles),
        "needed_by": key.needed_by,
        **_instants(key),
    }


def print_key(key: wire.LineKey, *, json: bool, token_asked: bool = True) -> None:
    """All there is to say of one key."""
    described = as_json(key, token_asked=token_asked)
    if json:
        print_json(described)
        return
    held = {None: "not asked", True: "yes", False: "no"}[described["held"]]
    rows = [
        ("key", key.keyid),
        ("line", f"{key.line} of repository {key.repository}"),
        ("state", described["state"]),
        ("scheme", key.scheme),
        ("label", f"{key.label} (in the token: {held})"),
        ("listed for", ", ".join(key.roles) or "nothing"),
        ("needed by", f"the newest version of {key.needed_by} roles"),
        *((name.removesuffix("_at"), described[name]) for name in _INSTANTS if described[name]),
    ]
    for name, value in rows:
        click.echo(f"{name:<12}{value}")
    click.echo(key.public_key_pem, nl=False)


def named_by(prefix: str, keyids: Iterable[str]) -> str:
    """The one keyid that begins with a prefix.

    Raises:
        InvalidRequestError: KEY_NOT_FOUND; several do, or it is empty.
        NotFoundError: KEY_NOT_FOUND; none does.
    """
    found = sorted({keyid for keyid in keyids if keyid.startswith(prefix)})
    if not found:
        raise NotFoundError(
            f"No key's id begins with '{prefix}'. 'wharfinger keys list' shows all.", reason=Reason.KEY_NOT_FOUND
        )
    if len(found) > 1 or not prefix:
        raise InvalidRequestError(
            f"The ids of several keys begin with '{prefix}': {', '.join(found)}. Write more of it.",
            reason=Reason.KEY_NOT_FOUND,
        )
    return found[0]


def _instants(key: wire.LineKey) -> dict[str, str | None]:
    told = {field.name: value for field, value in key.ListFields()}
    return {name: told[name].ToJsonString() if name in told else None for name in _INSTANTS}
