"""Drives the PKCS#11 module directly on one session: the floor of signing.

A program of its own, because whoever loads a PKCS#11 module should do nothing else. Reads lines ``{"count": N}`` from
standard input; answers each with the seconds that so many signatures took, and that their verification took afterwards:
by the clock, and of the processor.

    python direct.py MODULE TOKEN_LABEL PIN KEY_LABEL
"""

from __future__ import annotations

import hashlib
import json
import sys
import time

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11.util.ec import encode_ec_public_key, encode_ecdsa_signature

module, token_label, pin, key_label = sys.argv[1:]
session = pkcs11.lib(module).get_token(token_label=token_label).open(user_pin=pin)
key = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=key_label)
public = load_der_public_key(
    encode_ec_public_key(session.get_key(object_class=pkcs11.ObjectClass.PUBLIC_KEY, label=key_label))
)
assert isinstance(public, ec.EllipticCurvePublicKey)
type(key).key_type = pkcs11.KeyType.EC  # type: ignore[misc]  # saves a C_GetAttributeValue for each signature
for line in sys.stdin:
    digests = [hashlib.sha256(str(number).encode()).digest() for number in range(json.loads(line)["count"])]
    begun, begun_cpu = time.perf_counter(), time.process_time()
    signatures = [encode_ecdsa_signature(key.sign(digest, mechanism=pkcs11.Mechanism.ECDSA)) for digest in digests]
    signed, signed_cpu = time.perf_counter(), time.process_time()
    for digest, signature in zip(digests, signatures, strict=True):
        public.verify(signature, digest, ec.ECDSA(utils.Prehashed(SHA256())))
    ended, ended_cpu = time.perf_counter(), time.process_time()
    said = {
        "signing": signed - begun,
        "verifying": ended - signed,
        "signing_cpu": signed_cpu - begun_cpu,
        "verifying_cpu": ended_cpu - signed_cpu,
    }
    print(json.dumps(said), flush=True)
