"""The tables of generations and their attempts."""

from __future__ import annotations

from typing import Any

from peewee import (
    SQL,
    BigIntegerField,
    BooleanField,
    CompositeKey,
    ForeignKeyField,
    IntegerField,
    JSONField,
    TextField,
    Tuple,
)

from avatar_creator_server.database.models.base import BaseModel, IdField, UtcDateTimeField
from avatar_creator_server.database.models.preset import AvatarPreset, PersonaExample
from avatar_creator_server.database.models.project import AvatarProject
from avatar_creator_server.database.models.states import LOST_OUTCOMES, AttemptOutcome, GenerationState


class AvatarGeneration(BaseModel):
    """The generation of one portrait: a durable job and its state."""

    id = IdField()
    user_id = TextField()
    project = ForeignKeyField(AvatarProject, column_name="project_id", index=False, backref=None)
    state = TextField()
    stage = TextField()
    priority = IntegerField(constraints=[SQL("DEFAULT 1")])
    """Index into `avatar_creator_server.database.models.states.PRIORITIES`; a lower one is claimed sooner."""
    progress_percent = IntegerField(default=0)
    progress_estimated = BooleanField(default=False)
    revision = BigIntegerField(default=1)
    """Number that increases with every change that a watcher should see."""
    epoch = BigIntegerField(default=0)
    """Number that increases when the owner changes. Writes by the owner of an earlier epoch are refused."""
    avatar_name = TextField()
    prompt = TextField()
    persona = JSONField()
    attributes = JSONField()
    options = JSONField()
    enhanced_prompt = TextField()
    negative_prompt = TextField()
    seed_used = BigIntegerField()
    provider = TextField(default="")
    provider_prompt = TextField(default="")
    warnings = JSONField(default=list)
    error_reason = TextField(default="")
    error_message = TextField(default="")
    preset = ForeignKeyField(AvatarPreset, column_name="preset_id", null=True, index=False, backref=None)
    persona_example = ForeignKeyField(
        PersonaExample, column_name="persona_example_id", null=True, index=False, backref=None
    )
    retry_of = TextField(default="")
    """Id of the retried generation; empty if none. Not a foreign key, because that generation may be deleted.
    The next three fields are not foreign keys for the same reason."""
    reproduce_of = TextField(default="", constraints=[SQL("DEFAULT ''")])
    """Id of the generation whose recipe this one runs again; empty if none."""
    reference_avatar_id = TextField(default="", constraints=[SQL("DEFAULT ''")])
    """Id of the first reference avatar; empty if none."""
    further_reference_avatar_ids = JSONField(default=list, constraints=[SQL("DEFAULT '[]'")])
    """Ids of the reference avatars after the first one. See `models.references`."""
    group_id = TextField(default="", constraints=[SQL("DEFAULT ''")])
    """Id of the first generation of its variations; empty if it has no variations."""
    app_id = TextField(default="", constraints=[SQL("DEFAULT ''")])
    """App of the token that created the generation."""
    price_micros = BigIntegerField(default=0, constraints=[SQL("DEFAULT 0")])
    """Price of its attempts so far, in millionths of a US dollar."""
    reproduction = JSONField(null=True)
    """Comparison with the picture of `reproduce_of`; null if there is none. See
    `avatar_creator_server.generations.records.Reproduction`."""
    picture_moderation = JSONField(null=True)
    """Verdict about the picture; null if no classifier has checked it. See
    `avatar_creator_server.images.records.PictureModeration`."""
    route_choice = JSONField(null=True)
    """The app and the LoRA that draw; null if the route has no apps. See
    `avatar_creator_server.generations.records.RouteChoice`."""
    attempt_number = IntegerField(default=0)
    retry_count = IntegerField(default=0)
    worker_lost_count = IntegerField(default=0)
    release_count = IntegerField(default=0)
    due_time = UtcDateTimeField(null=True)
    """Time from which a worker may claim the generation: the time of the next attempt while pending, the end
    of the lease while processing, and null after the end. One column, so one index range has all due work."""
    delay_over = BooleanField(default=False, constraints=[SQL("DEFAULT FALSE")])
    """True once a sweeper has found that the delay of the retry is over, until the next claim. A trigger
    resets it, because earlier versions leave it set."""
    create_time = UtcDateTimeField()
    start_time = UtcDateTimeField(null=True)
    end_time = UtcDateTimeField(null=True)
    update_time = UtcDateTimeField()

    project_id: str
    preset_id: str | None
    persona_example_id: str | None

    class Meta:
        table_name = "avatar_generations"


def is_queued(row: Any) -> Any:
    """Return the condition that a generation is queued: it is pending, and due for a claim.

    It was due when it was last written, or a sweeper has found that the delay of its retry is over. So the
    database can count and index the queued ones: no row of theirs changes by time alone.

    Args:
        row: `AvatarGeneration` or an alias of it.
    """
    return _is_unfinished(row, GenerationState.PENDING) & _was_due(row)


def is_delayed(row: Any) -> Any:
    """Return the condition that a generation is pending, and not queued: it waits for its retry."""
    return _is_unfinished(row, GenerationState.PENDING) & ~_was_due(row)


def is_running(row: Any) -> Any:
    """Return the condition that a worker runs a generation, or has been lost while it did."""
    return _is_unfinished(row, GenerationState.PROCESSING)


def has_failed_since(row: Any, first_id: str) -> Any:
    """Return the condition that a generation has failed, and has this id or a later one.

    PostgreSQL reads the index of the ended ones for it. By the ids alone, it would read all waiting
    generations too.

    Args:
        row: `AvatarGeneration` or an alias of it.
        first_id: The id.
    """
    failed = SQL(f"'{GenerationState.FAILED}'")
    return (
        row.due_time.is_null() & (row.state == failed) & (Tuple(row.state, row.id) >= Tuple(failed, first_id))
    )


def _is_unfinished(row: Any, state: GenerationState) -> Any:
    # The state is a part of the SQL, because SQLite uses a partial index only if it sees the condition.
    return row.due_time.is_null(False) & (row.state == SQL(f"'{state}'"))


def _was_due(row: Any) -> Any:
    return (row.due_time <= row.update_time) | row.delay_over


_G = AvatarGeneration
_G.add_index(_G.index(_G.user_id, _G.id, name="avatar_generations_user"))
# A user's list by state, and the user's unfinished generations.
_G.add_index(_G.index(_G.user_id, _G.state, _G.id, name="avatar_generations_user_state"))
_G.add_index(_G.index(_G.project, _G.id, name="avatar_generations_project"))
# Watches read what has changed in a project or of a user.
_G.add_index(_G.index(_G.user_id, _G.update_time, name="avatar_generations_user_changed"))
# A project's list by state, and an operator's list. They have ended rows only, so that no renewal of a lease
# writes them.
_G.add_index(
    _G.index(
        _G.project, _G.state, _G.id, where=_G.due_time.is_null(), name="avatar_generations_project_ended"
    )
)
_G.add_index(_G.index(_G.state, _G.id, where=_G.due_time.is_null(), name="avatar_generations_ended"))
# Operators' lists by reason. Only FAILED generations have ended with one.
_G.add_index(
    _G.index(
        _G.error_reason,
        _G.id,
        where=_G.due_time.is_null() & (_G.error_reason != ""),
        name="avatar_generations_reason",
    )
)
# Whether a generation has been retried.
_G.add_index(_G.index(_G.retry_of, where=(_G.retry_of != ""), name="avatar_generations_retry_of"))
_G.add_index(_G.index(_G.due_time, where=_G.due_time.is_null(False), name="avatar_generations_due"))
_G.add_index(_G.index(_G.group_id, _G.id, where=(_G.group_id != ""), name="avatar_generations_group"))
_G.add_index(_G.index(_G.preset, name="avatar_generations_preset"))
_G.add_index(_G.index(_G.persona_example, name="avatar_generations_persona_example"))
_G.add_index(_G.index(_G.user_id, _G.priority, _G.id, where=is_queued(_G), name="avatar_generations_queued"))
_G.add_index(_G.index(_G.due_time, where=is_delayed(_G), name="avatar_generations_delayed"))
_G.add_index(_G.index(_G.due_time, where=is_running(_G), name="avatar_generations_running"))


class UserQueue(BaseModel):
    """The queued generations of a user and priority. Triggers of the database keep these rows."""

    user_id = TextField()
    priority = IntegerField()
    """Index into `avatar_creator_server.database.models.states.PRIORITIES`."""
    length = IntegerField()
    """Number of queued generations; see `is_queued`."""
    head_id = TextField(null=True)
    """Id of the first one; null if the queue is empty."""
    turn_time = UtcDateTimeField(null=True)
    """Time of the user's last claim of this priority, or of the creation of the first generation if that is
    later; null if the queue is empty."""

    class Meta:
        table_name = "user_queues"
        primary_key = CompositeKey("user_id", "priority")


UserQueue.add_index(
    UserQueue.index(
        UserQueue.priority,
        UserQueue.turn_time,
        UserQueue.head_id,
        where=UserQueue.head_id.is_null(False),
        name="user_queues_turns",
    )
)


class ClaimTurn(BaseModel):
    """Times of a user's last claims, by priority. Users with due work take turns by them."""

    user_id = TextField(primary_key=True)
    claim_time = UtcDateTimeField()
    """Time of the last claim of an interactive generation, or of any by a worker of version 0.1.0."""
    normal_claim_time = UtcDateTimeField(null=True)
    """Time of the last claim of a normal generation."""
    bulk_claim_time = UtcDateTimeField(null=True)
    """Time of the last claim of a bulk generation."""

    class Meta:
        table_name = "claim_turns"


class GenerationAttempt(BaseModel):
    """One attempt of a worker at a generation."""

    id = IdField()
    generation = ForeignKeyField(
        AvatarGeneration, column_name="generation_id", index=False, on_delete="CASCADE", backref=None
    )
    attempt_number = IntegerField()
    outcome = TextField()
    worker = TextField()
    provider = TextField(default="")
    provider_request_id = TextField(default="")
    possibly_charged = BooleanField(default=False)
    resumable = BooleanField(default=False, constraints=[SQL("DEFAULT FALSE")])
    """True if the provider still has the request, so the next attempt can ask for its result."""
    route = TextField(default="", constraints=[SQL("DEFAULT ''")])
    route_choice = JSONField(null=True)
    """The app and the LoRA of its request, a `avatar_creator_server.generations.records.RouteChoice`; null if
    there is no request, if the route has no apps, and if the worker has a version without choices."""
    price_micros = BigIntegerField(default=0, constraints=[SQL("DEFAULT 0")])
    """Price in millionths of a US dollar."""
    error_reason = TextField(default="")
    error_message = TextField(default="")
    start_time = UtcDateTimeField()
    end_time = UtcDateTimeField(null=True)

    generation_id: str

    class Meta:
        table_name = "generation_attempts"


GenerationAttempt.add_index(
    GenerationAttempt.index(
        GenerationAttempt.generation,
        GenerationAttempt.attempt_number,
        unique=True,
        name="generation_attempts_number",
    )
)
GenerationAttempt.add_index(
    GenerationAttempt.index(
        GenerationAttempt.end_time,
        where=(GenerationAttempt.outcome == AttemptOutcome.SUCCEEDED),
        name="generation_attempts_succeeded",
    )
)

GenerationAttempt.add_index(
    GenerationAttempt.index(
        GenerationAttempt.end_time,
        where=(GenerationAttempt.outcome.in_(LOST_OUTCOMES)),
        name="generation_attempts_lost",
    )
)
GenerationAttempt.add_index(
    GenerationAttempt.index(
        GenerationAttempt.route,
        GenerationAttempt.end_time,
        where=(GenerationAttempt.outcome == AttemptOutcome.SUCCEEDED),
        name="generation_attempts_route_succeeded",
    )
)


class GenerationRecipe(BaseModel):
    """The recipe of a completed generation. It has its own table, because it is long and rarely read."""

    generation = ForeignKeyField(
        AvatarGeneration, column_name="generation_id", primary_key=True, on_delete="CASCADE", backref=None
    )
    recipe = JSONField()
    """A `avatar_creator_server.generations.recipes.recipe.Recipe`."""

    generation_id: str

    class Meta:
        table_name = "generation_recipes"
