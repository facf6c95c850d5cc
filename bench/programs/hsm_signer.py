"""securesystemslib's HSMSigner on the same token, in the environment of the peers.

    PYKCS11LIB=MODULE python hsm_signer.py TOKEN_LABEL PIN KEYID

Reads lines ``{"count": N}`` from standard input; answers each with the seconds that so many signatures took.
"""

from __future__ import annotations

import json
import sys
import time

from securesystemslib.signer import HSMSigner, Signer

token_label, pin, keyid = sys.argv[1:]
uri, public_key = HSMSigner.import_(int(keyid), {"label": token_label})
signer = Signer.from_priv_key_uri(uri, public_key, lambda _: pin)
for line in sys.stdin:
    payloads = [str(number).encode() for number in range(json.loads(line)["count"])]
    started = time.perf_counter()
    for payload in payloads:
        signer.sign(payload)
    print(json.dumps({"signing": time.perf_counter() - started}), flush=True)
