"""Everything servicers and workers call, wired together from the settings."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from avatar_creator_server.avatars.service import Avatars
from avatar_creator_server.database.connection import Database
from avatar_creator_server.database.migrator import migrate, require_current
from avatar_creator_server.generations.circuit_breaker import CircuitBreakers
from avatar_creator_server.generations.leases import GenerationLeases
from avatar_creator_server.generations.moderation import Moderation
from avatar_creator_server.generations.queue import QueuePositions
from avatar_creator_server.generations.route_factory import routes_of
from avatar_creator_server.generations.routes import Routes
from avatar_creator_server.generations.service import Generations
from avatar_creator_server.generations.spending import Limits
from avatar_creator_server.generations.watching import GenerationWatches
from avatar_creator_server.images.store import Files, open_store
from avatar_creator_server.presets.service import Gallery
from avatar_creator_server.projects.service import Projects
from avatar_creator_server.settings import Settings
from avatar_creator_server.shared.background_jobs import BackgroundJobQueue
from avatar_creator_server.shared.event_bus import (
    GENERATION_CANCELLED,
    PROJECT_DELETED,
    THUMBNAIL_READY,
    EventBus,
    EventWaiter,
    InProcessBus,
    RedisBus,
)
from avatar_creator_server.shared.event_publisher import Announcements
from avatar_creator_server.shared.job_notifier import JobNotifier
from avatar_creator_server.shared.paging import PageTokens
from avatar_creator_server.usage.service import Usage


@dataclass(frozen=True, slots=True)
class Core:
    """The parts of one process."""

    settings: Settings
    database: Database
    bus: EventBus
    notifier: JobNotifier
    announcements: Announcements
    files: Files
    projects: Projects
    avatars: Avatars
    generations: Generations
    leases: GenerationLeases
    background_jobs: BackgroundJobQueue
    usage: Usage
    gallery: Gallery
    watches: GenerationWatches
    routes: Routes
    circuit_breakers: CircuitBreakers
    cancellations: EventWaiter
    moderation: Moderation

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
        notifier = JobNotifier.in_process() if settings.embedded else JobNotifier.over_redis(settings.redis)
        announcements = Announcements(bus)
        files = Files(database, open_store(settings.upload_path, settings.storage_url))
        routes = routes_of(settings)
        moderation = Moderation.of(
            settings.prompt_deny_list_file, settings.moderation_url, settings.moderation_api_key
        )
        generations = Generations(
            database,
            announcements,
            notifier,
            page_tokens,
            new_seed=lambda: secrets.randbits(32),
            routes=routes,
            limits=Limits(
                concurrent=settings.generation_limit_concurrent,
                per_minute=settings.generation_limit_per_minute,
                per_day=settings.generation_limit_per_day,
                spend_per_day=round(settings.spend_limit_per_day * 1_000_000),
            ),
            moderation=moderation,
            queue_positions=QueuePositions(database),
        )
        return cls(
            settings=settings,
            database=database,
            bus=bus,
            notifier=notifier,
            announcements=announcements,
            files=files,
            projects=Projects(database, files, announcements, notifier, page_tokens),
            avatars=Avatars(database, files, notifier, EventWaiter(bus, THUMBNAIL_READY), page_tokens),
            generations=generations,
            leases=GenerationLeases(database, announcements, files),
            background_jobs=BackgroundJobQueue(database),
            usage=Usage(database, page_tokens),
            gallery=Gallery(database, page_tokens),
            watches=GenerationWatches(generations, bus),
            routes=routes,
            circuit_breakers=CircuitBreakers(database, list(routes.named())),
            cancellations=EventWaiter(bus, GENERATION_CANCELLED, PROJECT_DELETED),
            moderation=moderation,
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
        await self.moderation.close()
        await self.bus.close()
        await self.notifier.close()
        await self.database.close()
