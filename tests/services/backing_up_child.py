"""A process that backs up and stops in the middle, to be killed there by its test."""

from __future__ import annotations

import sys
import time

from lsl_core.backups import Repository, Tier
from lsl_core.cvat import PasswordLogin, connect
from lsl_core.services.backups import backing_up


def stop(*args: object, **options: object) -> None:
    print("packing", flush=True)
    time.sleep(60)


backing_up.export_archive = stop  # type: ignore[assignment]
with connect(sys.argv[1], PasswordLogin("demo", "demo-password")) as session:
    repository = Repository.open(sys.argv[2])
    backing_up.back_up_now(repository, session, Tier.FULL, reason="to be killed")
