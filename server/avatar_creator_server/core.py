"""The parts of one process, created from the settings. Servicers and workers call these parts only."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta

from avatar_creator_server.avatars.service import Avatars
from avatar_creator_server.contract.generation_codec import ProtobufGenerationCodec
from avatar_creator_server.database.connection import Database, DatabaseLimits
from avatar_creator_server.database.migrator import migrate, require_current
from avatar_creator_server.generations.availability import AvailabilityReader
from avatar_creator_server.generations.bulk_changes import BulkChanges
from avatar_creator_server.generations.circuit_breaker import CircuitBreakers
from avatar_creator_server.generations.claims import Shares
from avatar_creator_server.generations.current_routes import CurrentRoutes
from avatar_creator_server.generations.events import GenerationEvents
from avatar_creator_server.generations.feed import GenerationFeed
from avatar_creator_server.generations.leases import GenerationLeases
from avatar_creator_server.generations.moderation import Moderation
from avatar_creator_server.generations.pauses import RouteNames
from avatar_creator_server.generations.project_deletion import ProjectDeletion
from avatar_creator_server.generations.queue_control import QueueControl
from avatar_creator_server.generations.queue_positions import QueuePositions
from avatar_creator_server.generations.service import Generations
from avatar_creator_server.generations.spending import Limits
from avatar_creator_server.generations.user_activity import UserRanking
from avatar_creator_server.generations.user_limits import UserLimits
from avatar_creator_server.generations.watch import GenerationWatches
from avatar_creator_server.generations.workers import Workers
from avatar_creator_server.images.decoding.decoders import Decoders
from avatar_creator_server.images.picture_links import PictureLinks
from avatar_creator_server.images.store import Files, opener_of_store
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
from avatar_creator_server.shared.paging import Pager, PageTokens
from avatar_creator_server.shared.worker_notifier import WorkerNotifier
from avatar_creator_server.usage.service import Usage


@dataclass(frozen=True, slots=True)
class Core:
    """The parts of one process."""

    settings: Settings
    database: Database
    bus: EventBus
    notifier: WorkerNotifier
    files: Files
    picture_links: PictureLinks
    decoders: Decoders
    projects: Projects
    project_deletion: ProjectDeletion
    avatars: Avatars
    generations: Generations
    feed: GenerationFeed
    leases: GenerationLeases
    background_jobs: BackgroundJobQueue
    usage: Usage
    gallery: Gallery
    watches: GenerationWatches
    current_routes: CurrentRoutes
    circuit_breakers: CircuitBreakers
    workers: Workers
    availability: AvailabilityReader
    cancellations: EventWaiter
    moderation: Moderation
    bulk_changes: BulkChanges
    queue_control: QueueControl
    user_limits: UserLimits
    user_ranking: UserRanking

    @classmethod
    def wire(cls, settings: Settings) -> Core:
        """Create the parts without connecting to anything, and without a folder or file.

        Raises:
            SettingsError: The settings do not form a service.
        """
        settings.require_legal_combination()
        database = Database(
            settings.database,
            pooled=settings.pooled,
            limits=DatabaseLimits(
                connections=settings.database_connections,
                connections_per_user=settings.database_connections_per_user,
                read_seconds=settings.database_read_seconds,
                wait_seconds=settings.database_wait_seconds,
            ),
        )
        pager = Pager(database, PageTokens(settings.signing_secret))
        bus = InProcessBus() if settings.embedded else RedisBus(settings.redis)
        notifier = (
            WorkerNotifier.in_process() if settings.embedded else WorkerNotifier.over_redis(settings.redis)
        )
        events = GenerationEvents(bus)
        files = Files(database, opener_of_store(settings.upload_path, settings.storage_url))
        decoders = Decoders(
            at_once=settings.decoders,
            memory_mib=settings.decoding_memory_mib,
            cpu_seconds=settings.decoding_seconds,
            log_level=settings.log_level,
        )
        current_routes = CurrentRoutes(database, settings)
        routes = current_routes.if_all_offered
        moderation = Moderation.of(
            settings.prompt_deny_list_file, settings.moderation_url, settings.moderation_api_key
        )
        route_names = RouteNames.of(routes)
        workers = Workers(database, routes.from_text.provider, route_names)
        circuit_breakers = CircuitBreakers(database, list(routes.named()))
        shares = Shares(settings.urgent_claims, timedelta(seconds=settings.bulk_wait_seconds))
        queue_positions = QueuePositions(database, workers, shares)
        feed = GenerationFeed(database, queue_positions)
        limits = Limits(
            concurrent=settings.generation_limit_concurrent,
            per_minute=settings.generation_limit_per_minute,
            per_day=settings.generation_limit_per_day,
            spend_per_day_micros=round(settings.spend_limit_per_day * 1_000_000),
        )
        generations = Generations(
            database,
            events,
            notifier,
            pager,
            new_seed=lambda: secrets.randbits(32),
            routes=current_routes,
            prompt_style=settings.prompt_style,
            limits=limits,
            moderation=moderation,
            queue_positions=queue_positions,
            workers=workers,
        )
        return cls(
            settings=settings,
            database=database,
            bus=bus,
            notifier=notifier,
            files=files,
            picture_links=PictureLinks(settings.signing_secret),
            decoders=decoders,
            projects=Projects(database, pager),
            project_deletion=ProjectDeletion(database, files, bus, notifier),
            avatars=Avatars(database, files, notifier, EventWaiter(bus, THUMBNAIL_READY), pager, decoders),
            generations=generations,
            feed=feed,
            leases=GenerationLeases(database, events, files, shares, route_names),
            background_jobs=BackgroundJobQueue(database),
            usage=Usage(database, pager),
            gallery=Gallery(database, pager),
            watches=GenerationWatches(feed, bus, ProtobufGenerationCodec()),
            current_routes=current_routes,
            circuit_breakers=circuit_breakers,
            workers=workers,
            availability=AvailabilityReader(database, circuit_breakers, workers),
            cancellations=EventWaiter(bus, GENERATION_CANCELLED, PROJECT_DELETED),
            moderation=moderation,
            bulk_changes=BulkChanges(database, generations),
            queue_control=QueueControl(database, pager, workers, notifier, routes),
            user_limits=UserLimits(database, limits),
            user_ranking=UserRanking(database, pager),
        )

    def ensure_schema(self) -> None:
        """Check that the database has this code's schema. The embedded service migrates its database.

        Raises:
            SchemaError: The schema is older than this code, or another program created the tables.
        """
        if self.settings.embedded:
            migrate(self.database.peewee)
        else:
            require_current(self.database.peewee)

    async def close(self) -> None:
        """Disconnect from everything."""
        await self.decoders.close()
        await self.moderation.close()
        await self.bus.close()
        await self.notifier.close()
        await self.database.close()
