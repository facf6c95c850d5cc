"""Drives the PKCS#11 module directly on one session: the floor of signing.

A program of its own, because whoever loads a PKCS#11 module should do nothing else. Reads lines ``{"count": N}`` from
standard input; answers each with the seconds that so many signatures took, and their verification: by the clock, and of
the processor. With ``"pause": S``, each is made and verified after S seconds of sleep, which are not counted.

    python direct.py MODULE TOKEN_LABEL PIN KEY_LABEL
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from typing import Any

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11.util.ec import encode_ec_public_key, encode_ecdsa_signature

module, token_label, pin, key_label = sys.argv[1:]
session: Any = pkcs11.lib(module).get_token(token_label=token_label).open(user_pin=pin)
key: Any = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=key_label)
public_object: Any = session.get_key(object_class=pkcs11.ObjectClass.PUBLIC_KEY, label=key_label)
public: Any = load_der_public_key(encode_ec_public_key(public_object))
type(key).key_type = pkcs11.KeyType.EC  # Saves a C_GetAttributeValue for each signature.


def signed(digests: list[bytes]) -> list[bytes]:
    return [encode_ecdsa_signature(key.sign(digest, mechanism=pkcs11.Mechanism.ECDSA)) for digest in digests]


def verify(digests: list[bytes], signatures: list[bytes]) -> None:
    for digest, signature in zip(digests, signatures, strict=True):
        public.verify(signature, digest, ec.ECDSA(utils.Prehashed(SHA256())))


for line in sys.stdin:
    command = json.loads(line)
    digests = [hashlib.sha256(str(number).encode()).digest() for number in range(command["count"])]
    parts = [[digest] for digest in digests] if "pause" in command else [digests]
    took = dict.fromkeys(("signing", "signing_cpu", "verifying", "verifying_cpu"), 0.0)
    for part in parts:
        time.sleep(command.get("pause", 0))
        begun, begun_cpu = time.perf_counter(), time.process_time()
        signatures = signed(part)
        middle, middle_cpu = time.perf_counter(), time.process_time()
        verify(part, signatures)
        ended, ended_cpu = time.perf_counter(), time.process_time()
        took["signing"] += middle - begun
        took["signing_cpu"] += middle_cpu - begun_cpu
        took["verifying"] += ended - middle
        took["verifying_cpu"] += ended_cpu - middle_cpu
    print(json.dumps(took), flush=True)
