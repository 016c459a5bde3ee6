"""Peewee models, in one file for each subject."""

from __future__ import annotations

from avatar_creator_server.database.models.avatar import Avatar
from avatar_creator_server.database.models.background_job import BackgroundJob
from avatar_creator_server.database.models.base import CLOCK_DIFFERENCE, BaseModel, least_id, new_id
from avatar_creator_server.database.models.circuit_breaker import RouteCircuit
from avatar_creator_server.database.models.file import File
from avatar_creator_server.database.models.generation import (
    AvatarGeneration,
    ClaimTurn,
    GenerationAttempt,
    GenerationRecipe,
    UserQueue,
)
from avatar_creator_server.database.models.idempotency import IdempotencyKey
from avatar_creator_server.database.models.model_mapping import ModelMapping
from avatar_creator_server.database.models.preset import AvatarPreset, PersonaExample
from avatar_creator_server.database.models.project import AvatarProject
from avatar_creator_server.database.models.queue_pause import WHOLE_QUEUE, QueuePause
from avatar_creator_server.database.models.references import reference_avatar_ids, reference_columns
from avatar_creator_server.database.models.spending import DailySpend, GenerationStart
from avatar_creator_server.database.models.statistics import DailyUploads, UserStatistics
from avatar_creator_server.database.models.usage import AvatarAppAction, AvatarAppUsage, AvatarUsage
from avatar_creator_server.database.models.user_limits import UserLimits
from avatar_creator_server.database.models.worker import RunningWorker

TABLES: tuple[type[BaseModel], ...] = (
    AvatarProject,
    File,
    AvatarPreset,
    PersonaExample,
    AvatarGeneration,
    UserQueue,
    ClaimTurn,
    GenerationAttempt,
    GenerationRecipe,
    Avatar,
    AvatarUsage,
    AvatarAppUsage,
    AvatarAppAction,
    UserStatistics,
    DailyUploads,
    GenerationStart,
    DailySpend,
    RouteCircuit,
    IdempotencyKey,
    BackgroundJob,
    RunningWorker,
    ModelMapping,
    QueuePause,
    UserLimits,
)
"""All tables, each after the tables that it refers to."""

__all__ = [
    "CLOCK_DIFFERENCE",
    "TABLES",
    "WHOLE_QUEUE",
    "Avatar",
    "AvatarAppAction",
    "AvatarAppUsage",
    "AvatarGeneration",
    "AvatarPreset",
    "AvatarProject",
    "AvatarUsage",
    "BackgroundJob",
    "BaseModel",
    "ClaimTurn",
    "DailySpend",
    "DailyUploads",
    "File",
    "GenerationAttempt",
    "GenerationRecipe",
    "GenerationStart",
    "IdempotencyKey",
    "ModelMapping",
    "PersonaExample",
    "QueuePause",
    "RouteCircuit",
    "RunningWorker",
    "UserLimits",
    "UserQueue",
    "UserStatistics",
    "least_id",
    "new_id",
    "reference_avatar_ids",
    "reference_columns",
]
