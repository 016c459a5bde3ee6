"""Everything servicers and workers call, wired together from the settings."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from server.database import Database
from server.domain.announcements import Announcements
from server.domain.avatars import Avatars
from server.domain.circuits import Circuits
from server.domain.events import (
    GENERATION_CANCELLED,
    PROJECT_DELETED,
    THUMBNAIL_READY,
    Arrivals,
    EventBus,
    InProcessBus,
    RedisBus,
)
from server.domain.files import Files, open_store
from server.domain.gallery import Gallery
from server.domain.generations import Generations
from server.domain.leases import GenerationLeases
from server.domain.paging import PageTokens
from server.domain.projects import Projects
from server.domain.queue import QueuePlaces
from server.domain.quick_work import QuickWorkQueue
from server.domain.routes import Routes
from server.domain.screening import Screening
from server.domain.spending import Limits
from server.domain.usage import Usage
from server.domain.watching import GenerationWatches
from server.migrate import migrate, require_current
from server.provider_choice import routes_of
from server.settings import Settings
from server.wakeups import WakeUps


@dataclass(frozen=True, slots=True)
class Core:
    """The parts of one process."""

    settings: Settings
    database: Database
    bus: EventBus
    wake_ups: WakeUps
    announcements: Announcements
    files: Files
    projects: Projects
    avatars: Avatars
    generations: Generations
    leases: GenerationLeases
    quick_work: QuickWorkQueue
    usage: Usage
    gallery: Gallery
    watches: GenerationWatches
    routes: Routes
    circuits: Circuits
    cancellations: Arrivals
    screening: Screening

    @classmethod
    def wire(cls, settings: Settings) -> Core:
        """Make the parts; nothing is connected yet.

        Raises:
            SettingsError: the settings do not make a service.
        """
        settings.require_legal_combination()
        page_tokens = PageTokens(settings.signing_secret)
        database = Database(settings.database)
        bus = InProcessBus() if settings.embedded else RedisBus(settings.redis)
        wake_ups = WakeUps.in_process() if settings.embedded else WakeUps.over_redis(settings.redis)
        announcements = Announcements(bus)
        files = Files(database, open_store(settings.upload_path, settings.storage_url))
        routes = routes_of(settings)
        screening = Screening.of(
            settings.prompt_deny_list_file, settings.moderation_url, settings.moderation_api_key
        )
        generations = Generations(
            database,
            announcements,
            wake_ups,
            page_tokens,
            new_seed=lambda: secrets.randbits(32),
            routes=routes,
            limits=Limits(
                concurrent=settings.generation_limit_concurrent,
                per_minute=settings.generation_limit_per_minute,
                per_day=settings.generation_limit_per_day,
                spend_per_day=round(settings.spend_limit_per_day * 1_000_000),
            ),
            screening=screening,
            places=QueuePlaces(database),
        )
        return cls(
            settings=settings,
            database=database,
            bus=bus,
            wake_ups=wake_ups,
            announcements=announcements,
            files=files,
            projects=Projects(database, files, announcements, wake_ups, page_tokens),
            avatars=Avatars(database, files, wake_ups, Arrivals(bus, THUMBNAIL_READY), page_tokens),
            generations=generations,
            leases=GenerationLeases(database, announcements, files),
            quick_work=QuickWorkQueue(database),
            usage=Usage(database, page_tokens),
            gallery=Gallery(database, page_tokens),
            watches=GenerationWatches(generations, bus),
            routes=routes,
            circuits=Circuits(database, list(routes.named())),
            cancellations=Arrivals(bus, GENERATION_CANCELLED, PROJECT_DELETED),
            screening=screening,
        )

    def ensure_schema(self) -> None:
        """Refuse a database that is behind this code; the embedded service brings its own up to date.

        Raises:
            SchemaError: the database is not at this code's schema.
        """
        if self.settings.embedded:
            migrate(self.database.peewee)
        else:
            require_current(self.database.peewee)

    async def close(self) -> None:
        """Disconnect from everything."""
        await self.screening.close()
        await self.bus.close()
        await self.wake_ups.close()
        await self.database.close()
