"""securesystemslib's HSMSigner on the same token, in the environment of the peers.

    PYKCS11LIB=MODULE python hsm_signer.py TOKEN_LABEL PIN KEYID

Reads lines with a count from standard input; answers each with the seconds that so many signatures took.
"""

from __future__ import annotations

import sys
import time

from securesystemslib.signer import HSMSigner, Signer

token_label, pin, keyid = sys.argv[1:]
uri, public_key = HSMSigner.import_(int(keyid), {"label": token_label})
signer = Signer.from_priv_key_uri(uri, public_key, lambda _: pin)
for line in sys.stdin:
    payloads = [str(number).encode() for number in range(int(line))]
    started = time.perf_counter()
    for payload in payloads:
        signer.sign(payload)
    print(time.perf_counter() - started, flush=True)
