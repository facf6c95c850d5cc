"""Keys on PKCS#11 tokens, held in worker processes of their own.

`HsmSupervisor` (supervisor.py) is what a daemon uses; `Token` (token.py) is the port behind it, with `MemoryToken` for
tests and `Pkcs11Token` for real modules. A process that uses the supervisor never loads a PKCS#11 module and never
sees a PIN.
"""
