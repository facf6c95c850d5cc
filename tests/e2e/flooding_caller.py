"""A caller, as a process, that asks for one signature on many connections' worth of threads at once.

``python -m tests.e2e.flooding_caller HOME PORT CALLS`` reads canonical bytes of a snapshot, as hexadecimal, from its
input, and prints one JSON object a call, as soon as that has ended.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

from wharfinger_client import Client, ClientSettings, RetryPolicy, SigningItem, TlsIdentity, WharfingerError


def main() -> None:
    home, port, calls = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    item = SigningItem("development", bytes.fromhex(sys.stdin.read()), "snapshot")
    tls = home / "tls"
    identity = TlsIdentity(ca=tls / "ca.crt", certificate=tls / "warehouse.crt", key=tls / "warehouse.key")
    printing = threading.Lock()

    def call(client: Client) -> None:
        try:
            [signature] = client.sign([item], timeout=100)
            ended = {"code": "OK", "signature": signature.signature.hex()}
        except WharfingerError as error:
            retry = error.failure.retry_after
            ended = {"code": error.code, "reason": error.reason, "retry_after": "" if retry is None else str(retry)}
        with printing:
            print(json.dumps(ended), flush=True)

    with Client(ClientSettings(f"127.0.0.1:{port}", identity, retry=RetryPolicy(max_attempts=1))) as client:
        threads = [threading.Thread(target=call, args=(client,)) for _ in range(calls)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
