"""Signing: ECDSA P-256 on SoftHSM, ledger and log durable, against the module driven directly and HSMSigner.

Ours is the whole way: a client over mTLS, the checks of ``Sign``, the durable ledger and log, the HSM worker,
verification, the record, the reply. Client, daemon and worker are processes of their own, and share the machine's
cores with each other. Batches are counted by the clock; single requests by the processor's time that they take, of all
processes together, and by the clock too, against what no request can do without.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench import single_requests
from bench.stage import BATCH, CALLS, Stage
from bench.table import Aim, Report, Table, best_rates

HSM_SIGNER_ITEMS = 30


def run(rounds: int) -> Report:
    """Measures all of it."""
    with tempfile.TemporaryDirectory(prefix="wharfinger-bench-") as folder, contextlib.ExitStack() as stack:
        stage = Stage(Path(folder), stack)
        batches, aims = _batches(stage, rounds)
        stage.leave_one_worker()
        requests = single_requests.measure(stage, rounds)
    return Report([batches, *requests.tables], [*aims, *requests.aims])


def _batches(stage: Stage, rounds: int) -> tuple[Table, list[Aim]]:
    items = BATCH * CALLS

    def directly(*parts: str) -> float:
        answer = stage.direct.ask(count=items)
        return items / sum(answer[part] for part in parts)

    def hsm_signer() -> float:
        return HSM_SIGNER_ITEMS / stage.hsm_signer.ask(count=HSM_SIGNER_ITEMS)["signing"]

    contestants: dict[str, Callable[[], float]] = {
        "module driven directly, one session": lambda: directly("signing"),
        "the same, each signature verified": lambda: directly("signing", "verifying"),
        "securesystemslib HSMSigner": hsm_signer,
    }
    for callers in (1, 2):
        for workers, daemon in stage.daemons.items():
            contestants[_ours(workers, callers)] = partial(stage.batches, daemon, callers)
        contestants[f"{_ours(1, callers)}, unverified"] = partial(stage.batches, stage.unverified, callers)
    rates = best_rates(contestants, rounds)
    table = Table(f"Signing, ECDSA P-256 on SoftHSM, batches of {BATCH}", "signatures", rates)
    bare, verified = rates["module driven directly, one session"], rates["the same, each signature verified"]
    aims = []
    for callers in (1, 2):
        ours = _ours(1, callers)
        aims += [
            Aim(f"{ours}, of the module driven directly with verification", rates[ours] / verified, 0.6),
            Aim(f"{ours}, unverified, of the module without", rates[f"{ours}, unverified"] / bare, 0.85),
            Aim(f"{ours}, times HSMSigner", rates[ours] / rates["securesystemslib HSMSigner"], 15),
        ]
    return table, aims


def _ours(workers: int, callers: int) -> str:
    return f"wharfinger, {workers} worker{'s' * (workers > 1)}, {callers} caller{'s' * (callers > 1)}"
