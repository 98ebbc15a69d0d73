"""A small CVAT-compatible server of our own, for the demo and the tests.

Not a CVAT: it knows the part of CVAT's API that LSL and cvat-sdk use, listens on loopback only,
and says on every page what it is. Stands alone: imports nothing else of LSL.
"""

from lsl_core.sandbox.server import DEMO_PASSWORD, DEMO_USER, PortTakenError, Sandbox

__all__ = ["DEMO_PASSWORD", "DEMO_USER", "PortTakenError", "Sandbox"]
