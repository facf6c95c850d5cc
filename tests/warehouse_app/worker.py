"""The application of the Celery worker: ``celery -A tests.warehouse_app.worker:celery worker``."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.warehouse_app.application import Application

application = Application(json.loads(Path(os.environ["INDEX_SETTINGS"]).read_text()))
celery = application.celery
celery.conf.beat_schedule = {"reconcile": {"task": "wharfinger.reconcile", "schedule": 1.0}}
celery.conf.beat_schedule_filename = str(application.folder / "beat")
