"""Brings the daemon into a Pyramid application with Warehouse's conventions. Needs the extra ``wharfinger[warehouse]``.

    config.include("wharfinger_client.warehouse")
    config.register_wharfinger(Registration(models=..., sessions=..., celery=..., disabled=...))

``includeme`` reads the settings ``wharfinger.*`` and registers ``ISigningService`` and ``IScanService``. The directive
``register_wharfinger`` adds the session listeners and the Celery tasks. Uploads never wait for the daemon: a change
writes a job in its own transaction, and workers do the jobs after the commit, as often as needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from celery import Celery
from sqlalchemy.orm import Session

from wharfinger_client.client import Client
from wharfinger_client.warehouse.delivery import Delivery, Outcome, Services
from wharfinger_client.warehouse.interfaces import IScanService, ISigningService
from wharfinger_client.warehouse.listeners import enqueue, listen
from wharfinger_client.warehouse.models import Models, SimplePages, Upload
from wharfinger_client.warehouse.outbox import Job, JobKind, Outbox, metadata
from wharfinger_client.warehouse.services import (
    CLIENT_KEY,
    SETTINGS_KEY,
    GrpcScanService,
    GrpcSigningService,
    NothingIsSignedWarning,
    NullScanService,
    NullSigningService,
)
from wharfinger_client.warehouse.settings import WarehouseSettings
from wharfinger_client.warehouse.tasks import CeleryDispatch, bound_waiting, register_tasks

__all__ = [
    "CeleryDispatch",
    "Delivery",
    "GrpcScanService",
    "GrpcSigningService",
    "IScanService",
    "ISigningService",
    "Job",
    "JobKind",
    "Models",
    "NothingIsSignedWarning",
    "NullScanService",
    "NullSigningService",
    "Outbox",
    "Outcome",
    "Registration",
    "Services",
    "SimplePages",
    "Upload",
    "WarehouseSettings",
    "enqueue",
    "includeme",
    "listen",
    "metadata",
    "register_tasks",
]


def _nothing_is_disabled(kind: JobKind) -> bool:
    return False


@dataclass(frozen=True)
class Registration:
    """What the application brings.

    Attributes:
        models: see ``Models``.
        sessions: makes sessions for the workers' own short transactions, apart from any request's transaction.
        session_class: the class or sessionmaker of the sessions that are listened to.
        celery: the application that has the workers.
        disabled: the kill switches, asked before each job; while one is on, jobs gather and nothing is lost.
        queue: the queue of the jobs; empty for the application's routes.
        due_after: the seconds that a job has waited when ``wharfinger.reconcile`` queues it again.
    """

    models: Models
    sessions: Callable[[], Session]
    session_class: Any
    celery: Celery
    disabled: Callable[[JobKind], bool] = _nothing_is_disabled
    queue: str = ""
    due_after: float = 60.0


def includeme(config: Any) -> None:
    """Registers the services that the setting ``wharfinger.backend`` names; connects to nothing.

    Raises:
        SettingsError: a setting is unknown, missing or not usable.
    """
    settings = WarehouseSettings.read(config.registry.settings)
    config.registry[SETTINGS_KEY] = settings
    config.include("pyramid_services")
    signing: Any = NullSigningService
    scanning: Any = NullScanService
    if settings.client is not None:
        config.registry[CLIENT_KEY] = Client(settings.client)
        signing, scanning = GrpcSigningService, GrpcScanService
    config.register_service_factory(signing.create_service, ISigningService)
    config.register_service_factory(scanning.create_service, IScanService)
    config.add_directive("register_wharfinger", _register, action_wrap=False)


def _register(config: Any, registration: Registration) -> None:
    settings: WarehouseSettings = config.registry[SETTINGS_KEY]
    made: list[Delivery] = []

    def delivery() -> Delivery:
        # Made in the worker at the first job, when all of the application's services are registered.
        if not made:
            services = Services(
                _service(config, ISigningService), _service(config, IScanService), registration.disabled
            )
            made.append(Delivery(Outbox(registration.sessions), registration.models, services, settings.deadlines))
        return made[0]

    bound_waiting(registration.celery)
    register_tasks(registration.celery, delivery, due_after=registration.due_after, queue=registration.queue)
    listen(registration.session_class, registration.models, CeleryDispatch(registration.celery, registration.queue))


def _service(config: Any, interface: Any) -> Any:
    return config.find_service_factory(interface)(None, config)
