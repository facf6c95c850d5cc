"""The sandbox: archives are opened, and checks run, in processes that can do nothing else.

``pool`` is what the daemon uses; ``worker`` runs inside; ``protocol`` is what they say to each other; ``confinement``
is the list of layers, each in a module of its own: ``process_isolation``, ``landlock``, ``syscall_filter``.
``in_process`` examines without a sandbox, for tests.
"""

from wharfinger_daemon.sandbox.in_process import InProcessExaminer
from wharfinger_daemon.sandbox.layers import Layer
from wharfinger_daemon.sandbox.pool import SandboxPool
from wharfinger_daemon.sandbox.settings import CheckSource, SandboxSettings

__all__ = ["CheckSource", "InProcessExaminer", "Layer", "SandboxPool", "SandboxSettings"]
