"""A small index with Warehouse's parts: Pyramid, SQLAlchemy on PostgreSQL, Celery; it uploads, yanks and deletes."""

from __future__ import annotations

import hashlib
import html
import json
import os
from pathlib import Path
from typing import Any

from celery import Celery
from pyramid.config import Configurator
from pyramid.response import Response
from sqlalchemy import ForeignKey, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, sessionmaker
from sqlalchemy.pool import NullPool

from wharfinger_client import Classification, Scan, Subject
from wharfinger_client.warehouse import JobKind, Registration, SimplePages, Upload, metadata

KIND = "is_scanner_match"
EVIL = b"this is evil"


class Base(DeclarativeBase):
    pass


class Project(Base):
    __tablename__ = "projects"
    name: Mapped[str] = mapped_column(primary_key=True)
    quarantined: Mapped[bool] = mapped_column(default=False)
    files: Mapped[list[File]] = relationship(back_populates="project", cascade="all, delete-orphan")


class File(Base):
    __tablename__ = "files"
    id: Mapped[str] = mapped_column(primary_key=True)
    project_name: Mapped[str] = mapped_column(ForeignKey("projects.name"))
    filename: Mapped[str]
    sha256: Mapped[str]
    yanked: Mapped[bool] = mapped_column(default=False)
    project: Mapped[Project] = relationship(back_populates="files")


class Observation(Base):
    __tablename__ = "observations"
    scan_id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    file_id: Mapped[str]


class Index:
    """The application's side of the integration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def project_of(self, instance: Any) -> str | None:
        if isinstance(instance, Project):
            return instance.name
        return instance.project_name or instance.project.name if isinstance(instance, File) else None

    def upload_of(self, instance: Any) -> str | None:
        return instance.id if isinstance(instance, File) else None

    def page_paths(self, project: str) -> tuple[str, ...]:
        return (f"simple/{project}/index.html", f"simple/{project}/index.json")

    def render(self, session: Session, project: str) -> SimplePages | None:
        found = session.get(Project, project)
        if found is None:
            return None
        files = [] if found.quarantined else sorted(found.files, key=lambda file: file.filename)
        links = [f"<a href='#sha256={file.sha256}'>{html.escape(file.filename)}</a>" for file in files]
        listed = [{"filename": f.filename, "hashes": {"sha256": f.sha256}, "yanked": f.yanked} for f in files]
        as_html, as_json = self.page_paths(project)
        return SimplePages({as_html: "\n".join(links).encode(), as_json: json.dumps(listed).encode()})

    def store(self, name: str, content: bytes) -> None:
        place = self.folder / "stored" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        # A name of its own for each writer, or one would rename the half of another.
        written = place.with_name(f"{place.name}.{os.getpid()}")
        written.write_bytes(content)
        written.rename(place)

    def upload(self, session: Session, file_id: str) -> Upload | None:
        file = session.get(File, file_id)
        if file is None:
            return None
        subject = Subject.file(project=file.project_name, version="1.0", filename=file.filename)
        return Upload(subject, file.sha256, self.folder / file.id)

    def record_scan(self, session: Session, file_id: str, scan: Scan) -> None:
        if scan.classification is Classification.THREAT:
            session.merge(Observation(scan_id=scan.scan_id, kind=KIND, file_id=file_id))

    def projects_after(self, session: Session, project: str, limit: int) -> tuple[str, ...]:
        found = select(Project.name).where(Project.name > project).order_by(Project.name).limit(limit)
        return tuple(session.scalars(found))


def celery_application(broker: str) -> Celery:
    celery = Celery("index", broker=broker, set_as_current=False)
    celery.conf.update(
        broker_transport_options={"socket_connect_timeout": 1, "socket_timeout": 5, "visibility_timeout": 30},
        broker_connection_retry_on_startup=True,
        worker_prefetch_multiplier=1,
        worker_send_task_events=False,
    )
    return celery


class Application:
    """One process of the index: the web application, or a worker.

    ``settings`` are those of Pyramid; ``database``, ``broker`` and ``folder`` are the application's own.
    """

    def __init__(self, settings: dict[str, str]) -> None:
        self.folder = Path(settings["folder"])
        self.engine = create_engine(settings["database"], poolclass=NullPool)
        self.sessions = sessionmaker(self.engine)
        self.celery = celery_application(settings["broker"])
        self.config = Configurator(settings=settings)
        self.config.include("wharfinger_client.warehouse")
        self.config.register_wharfinger(
            Registration(
                models=Index(self.folder),
                sessions=self.sessions,
                session_class=self.sessions,
                celery=self.celery,
                disabled=self.disabled,
                due_after=0.5,
            )
        )
        for name in ("upload", "delete", "quarantine", "yank"):
            self.config.add_route(name, f"/{name}/{{project}}/{{filename}}")
            self.config.add_view(getattr(self, name), route_name=name, request_method="POST")
        self.wsgi = self.config.make_wsgi_app()

    def disabled(self, kind: JobKind) -> bool:
        return (self.folder / f"disable-{kind}").exists()

    def create_tables(self) -> None:
        Base.metadata.create_all(self.engine)
        metadata.create_all(self.engine)

    def drop_tables(self) -> None:
        metadata.drop_all(self.engine)
        Base.metadata.drop_all(self.engine)

    def upload(self, request: Any) -> Response:
        project, filename = request.matchdict["project"], request.matchdict["filename"]
        sha256 = hashlib.sha256(request.body).hexdigest()
        file_id = f"{project}-{filename}"
        (self.folder / file_id).write_bytes(request.body)
        with self.sessions.begin() as session:
            found = session.get(Project, project)
            if found is None:
                found = Project(name=project)
                session.add(found)
            session.add(File(id=file_id, project=found, filename=filename, sha256=sha256))
        return Response("ok")

    def delete(self, request: Any) -> Response:
        with self.sessions.begin() as session:
            session.delete(session.get_one(Project, request.matchdict["project"]))
        return Response("ok")

    def quarantine(self, request: Any) -> Response:
        with self.sessions.begin() as session:
            session.get_one(Project, request.matchdict["project"]).quarantined = True
        return Response("ok")

    def yank(self, request: Any) -> Response:
        with self.sessions.begin() as session:
            file_id = "{project}-{filename}".format(**request.matchdict)
            session.get_one(File, file_id).yanked = True
        return Response("ok")
