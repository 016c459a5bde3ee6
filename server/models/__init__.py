"""Peewee models: one file per table or pair of tables."""

from __future__ import annotations

from server.models.avatar import Avatar
from server.models.base import BaseModel, new_id
from server.models.circuit import RouteCircuit
from server.models.file import File
from server.models.generation import (
    LOST_OUTCOMES,
    AvatarGeneration,
    ClaimTurn,
    GenerationAttempt,
    GenerationRecipe,
)
from server.models.idempotency import IdempotencyKey
from server.models.preset import AvatarPreset, PersonaExample
from server.models.project import AvatarProject
from server.models.quick_work import QuickWork
from server.models.spending import DailySpend, GenerationStart
from server.models.statistics import DailyUploads, UserStatistics
from server.models.usage import AvatarAppAction, AvatarAppUsage, AvatarUsage

TABLES: tuple[type[BaseModel], ...] = (
    AvatarProject,
    File,
    AvatarPreset,
    PersonaExample,
    AvatarGeneration,
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
    QuickWork,
)
"""Every table, each after the ones it refers to."""

__all__ = [
    "LOST_OUTCOMES",
    "TABLES",
    "Avatar",
    "AvatarAppAction",
    "AvatarAppUsage",
    "AvatarGeneration",
    "AvatarPreset",
    "AvatarProject",
    "AvatarUsage",
    "BaseModel",
    "ClaimTurn",
    "DailySpend",
    "DailyUploads",
    "File",
    "GenerationAttempt",
    "GenerationRecipe",
    "GenerationStart",
    "IdempotencyKey",
    "PersonaExample",
    "QuickWork",
    "RouteCircuit",
    "UserStatistics",
    "new_id",
]
