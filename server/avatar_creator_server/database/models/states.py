"""Enums of the words in columns: states, stages, outcomes and kinds. The contract has the same names."""

from __future__ import annotations

from enum import StrEnum


class GenerationState(StrEnum):
    """The state of a generation."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED_STATES = frozenset({GenerationState.COMPLETED, GenerationState.FAILED, GenerationState.CANCELLED})
"""States that no transition leaves."""

ACTIVE_STATES = tuple(state for state in GenerationState if state not in ENDED_STATES)
"""States of generations that are waiting or running."""


class GenerationStage(StrEnum):
    """The step that a generation has reached within its state."""

    QUEUED = "queued"
    CLAIMED = "claimed"
    DRAWING = "drawing"
    SAVING = "saving"
    FINISHING = "finishing"
    WAITING_TO_RETRY = "waiting_to_retry"
    ENDED = "ended"


class GenerationPriority(StrEnum):
    """The urgency of a generation."""

    INTERACTIVE = "interactive"
    NORMAL = "normal"
    BULK = "bulk"


PRIORITIES = tuple(GenerationPriority)
"""Priorities, most urgent first. A row stores an index into this tuple."""


class AttemptOutcome(StrEnum):
    """The outcome of one attempt at a generation, or the step it has reached."""

    RUNNING = "running"
    SUBMITTING = "submitting"
    """The provider is being called: the request may cost money from now on."""
    SUCCEEDED = "succeeded"
    RETRYABLE = "retryable"
    FATAL = "fatal"
    WORKER_LOST = "worker_lost"
    RELEASED = "released"
    CANCELLED = "cancelled"
    SUBMIT_UNKNOWN = "submit_unknown"
    """The provider's answer to the submission was lost."""


LOST_OUTCOMES = (AttemptOutcome.WORKER_LOST, AttemptOutcome.SUBMIT_UNKNOWN)
"""Outcomes of attempts whose worker, or whose answer from the provider, was lost."""


class FileState(StrEnum):
    """The state of a stored file."""

    STAGED = "staged"
    """The row is written; the bytes may not be. No other row refers to the file yet."""
    OWNED = "owned"
    """Another row refers to the file."""
    DELETING = "deleting"
    """No row refers to the file any longer; a background job removes the bytes."""


class SourceType(StrEnum):
    """The origin of an avatar."""

    UPLOADED = "uploaded"
    TEXT_TO_IMAGE = "text_to_image"
    FROM_PRESET = "from_preset"
    FROM_REFERENCE = "from_reference"


class JobKind(StrEnum):
    """The kind of a background job. Each member says what `subject_id` names."""

    THUMBNAIL = "thumbnail"
    """Make the thumbnail of an avatar: its id."""
    CANCEL_REQUEST = "cancel_request"
    """Cancel a request at the provider: the provider's id of the request."""
    REMOVE_FILES = "remove_files"
    """Remove the bytes of a user's files that no row refers to any longer: the id of the user."""
    REMOVE_FILE = "remove_file"
    """The same, for one file: its id. Version 0.1 wrote such jobs, and may run at the same time."""
    REMOVE_PROJECT = "remove_project"
    """Remove the rows of a deleted project: its id."""
