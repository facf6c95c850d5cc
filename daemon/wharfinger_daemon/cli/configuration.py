"""``wharfinger config``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from wharfinger_daemon import config
from wharfinger_daemon.cli.program import (
    EXIT_FOUND_SOMETHING,
    config_option,
    configuration_file,
    json_option,
    print_json,
)
from wharfinger_daemon.config import Settings
from wharfinger_daemon.errors import WharfingerError


@click.group(name="config")
def configuration() -> None:
    """Look at the configuration."""


@configuration.command()
@config_option
@json_option
def check(config_path: Path | None, as_json: bool) -> None:
    """Check the configuration file without starting anything.

    Unknown keys, wrong types, contradictions and files that are not there or cannot be read are all reported. Ends
    with status 1 if something is wrong. Warnings speak of what is allowed and seldom meant.
    """
    path = configuration_file(config_path)
    problems, warnings = _findings(path)
    if as_json:
        print_json({"path": str(path), "valid": not problems, "problems": problems, "warnings": warnings})
    else:
        for warning in warnings:
            click.echo(f"wharfinger: warning: {warning}", err=True)
        for problem in problems:
            click.echo(f"wharfinger: {problem}", err=True)
        if not problems:
            click.echo(f"{path} is valid.")
    if problems:
        sys.exit(EXIT_FOUND_SOMETHING)


def _findings(path: Path) -> tuple[list[str], list[str]]:
    try:
        settings = config.load(path)
    except WharfingerError as error:
        return [error.message], []
    problems = [f"{key}: {problem}." for key, file in _files(settings) if (problem := _problem_of(file))]
    return problems, list(config.warnings(settings))


def _problem_of(file: Path) -> str:
    try:
        file.stat()
    except FileNotFoundError:
        return f"there is no file {file}"
    except OSError as error:
        return f"{file} cannot be reached: {error.strerror}"
    return "" if os.access(file, os.R_OK) else f"{file} cannot be read by this user"


def _files(settings: Settings) -> list[tuple[str, Path]]:
    tls = settings.grpc.tls
    files = [
        ("grpc.tls.certificate_file", tls.certificate_file),
        ("grpc.tls.key_file", tls.key_file),
        ("grpc.tls.client_ca_file", tls.client_ca_file),
    ]
    if settings.hsm is not None:
        files += settings.hsm.files()
    for repository in settings.repositories:
        if repository.metadata_directory is not None:
            files.append((f"repositories '{repository.name}' metadata_directory", repository.metadata_directory))
        if repository.bucket is not None:
            named = repository.bucket.files()
            files += [(f"repositories '{repository.name}' bucket.{key}", file) for key, file in named]
    return files + [("scan.artifact_roots", root) for root in settings.scan.artifact_roots]
