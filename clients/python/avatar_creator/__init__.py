"""Typed client of Avatar Creator: `AvatarCreator`, `AsyncAvatarCreator`, their resources and their errors."""

from importlib import import_module
from typing import TYPE_CHECKING

from avatar_creator.errors import (
    AbortedError,
    AlreadyExistsError,
    AvatarCreatorError,
    CallCancelledError,
    DataLossError,
    DeadlineExceededError,
    FailedPreconditionError,
    FieldViolation,
    GenerationCancelledError,
    GenerationEndedError,
    GenerationFailedError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    OutOfRangeError,
    PermissionDeniedError,
    QuotaViolation,
    Resource,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
    UnknownError,
)

__all__ = [
    "AbortedError",
    "ActionCount",
    "AgeRange",
    "AlreadyExistsError",
    "AppUsageSummary",
    "AsyncAvatarCreator",
    "AsyncAvatars",
    "AsyncGenerations",
    "AsyncItems",
    "AsyncOperations",
    "AsyncPersonas",
    "AsyncPresets",
    "AsyncProjects",
    "AsyncToken",
    "AsyncUsage",
    "AttemptOutcome",
    "Attributes",
    "AttributesFields",
    "Avatar",
    "AvatarBatch",
    "AvatarCreator",
    "AvatarCreatorError",
    "AvatarOrder",
    "Avatars",
    "Backoff",
    "BodyType",
    "BulkCancellation",
    "BulkFailure",
    "BulkRetry",
    "CallCancelledError",
    "DailySpend",
    "DataLossError",
    "DeadlineExceededError",
    "ErrorReason",
    "Estimate",
    "EyeColor",
    "FailedPreconditionError",
    "FailureCount",
    "FieldViolation",
    "Gender",
    "Generation",
    "GenerationAttempt",
    "GenerationCancelledError",
    "GenerationEndedError",
    "GenerationFailedError",
    "GenerationFailure",
    "GenerationLimits",
    "GenerationOptions",
    "GenerationOrder",
    "GenerationParameters",
    "GenerationPriority",
    "GenerationStage",
    "GenerationState",
    "GenerationStateCount",
    "Generations",
    "HairColor",
    "HairStyle",
    "Headwear",
    "Image",
    "ImageVariant",
    "InternalError",
    "InvalidArgumentError",
    "Items",
    "NotFoundError",
    "OpenedProject",
    "Operations",
    "OutOfRangeError",
    "Page",
    "PermissionDeniedError",
    "Persona",
    "PersonaExample",
    "PersonaFields",
    "Personas",
    "Picture",
    "PictureModeration",
    "Preset",
    "Presets",
    "Project",
    "Projects",
    "Queue",
    "QueueDepth",
    "QueuePause",
    "QueueRoute",
    "QuotaViolation",
    "Recipe",
    "RecordedUsage",
    "Reproduction",
    "RequestEvent",
    "Resource",
    "ResourceExhaustedError",
<<<<<<< HEAD
    "ResponseEvent",
=======
    "RunningAttempt",
>>>>>>> operations
    "SkinTone",
    "SourceType",
    "Stats",
    "Style",
    "Token",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
    "UnknownError",
    "UploadProgress",
    "Usage",
    "UsageRecord",
    "UserActivity",
    "UserLimits",
    "UserOrder",
    "Worker",
    "WorkerState",
    "__version__",
]

if TYPE_CHECKING:
    from avatar_creator._async.avatars import AsyncAvatars
    from avatar_creator._async.client import AsyncAvatarCreator
    from avatar_creator._async.connection import AsyncToken
    from avatar_creator._async.generations import AsyncGenerations
    from avatar_creator._async.items import AsyncItems
    from avatar_creator._async.operations import AsyncOperations
    from avatar_creator._async.presets import AsyncPersonas, AsyncPresets
    from avatar_creator._async.projects import AsyncProjects
    from avatar_creator._async.usage import AsyncUsage
    from avatar_creator._requests.calls import Page
    from avatar_creator._sync.avatars import Avatars
    from avatar_creator._sync.client import AvatarCreator
    from avatar_creator._sync.connection import Token
    from avatar_creator._sync.generations import Generations
    from avatar_creator._sync.items import Items
    from avatar_creator._sync.operations import Operations
    from avatar_creator._sync.presets import Personas, Presets
    from avatar_creator._sync.projects import Projects
    from avatar_creator._sync.usage import Usage
    from avatar_creator.enums import (
        AgeRange,
        AttemptOutcome,
        AvatarOrder,
        BodyType,
        ErrorReason,
        EyeColor,
        Gender,
        GenerationOrder,
        GenerationPriority,
        GenerationStage,
        GenerationState,
        HairColor,
        HairStyle,
        Headwear,
        ImageVariant,
        SkinTone,
        SourceType,
        Style,
        UserOrder,
        WorkerState,
    )
    from avatar_creator.hooks import RequestEvent, ResponseEvent
    from avatar_creator.parameters import GenerationParameters
    from avatar_creator.pictures import Picture, UploadProgress
    from avatar_creator.retries import Backoff
    from avatar_creator.values import (
        ActionCount,
        AppUsageSummary,
        Attributes,
        AttributesFields,
        Avatar,
        AvatarBatch,
        BulkCancellation,
        BulkFailure,
        BulkRetry,
        DailySpend,
        Estimate,
        FailureCount,
        Generation,
        GenerationAttempt,
        GenerationFailure,
        GenerationLimits,
        GenerationOptions,
        GenerationStateCount,
        Image,
        OpenedProject,
        Persona,
        PersonaExample,
        PersonaFields,
        PictureModeration,
        Preset,
        Project,
        Queue,
        QueueDepth,
        QueuePause,
        QueueRoute,
        Recipe,
        RecordedUsage,
        Reproduction,
        RunningAttempt,
        Stats,
        UsageRecord,
        UserActivity,
        UserLimits,
        Worker,
    )

_LAZY = {
    "AsyncAvatarCreator": "_async.client",
    "AsyncAvatars": "_async.avatars",
    "AsyncGenerations": "_async.generations",
    "AsyncItems": "_async.items",
    "AsyncOperations": "_async.operations",
    "AsyncPersonas": "_async.presets",
    "AsyncPresets": "_async.presets",
    "AsyncProjects": "_async.projects",
    "AsyncToken": "_async.connection",
    "AsyncUsage": "_async.usage",
    "AvatarCreator": "_sync.client",
    "Avatars": "_sync.avatars",
    "Backoff": "retries",
    "GenerationParameters": "parameters",
    "Generations": "_sync.generations",
    "Items": "_sync.items",
    "Operations": "_sync.operations",
    "Page": "_requests.calls",
    "Personas": "_sync.presets",
    "Picture": "pictures",
    "Presets": "_sync.presets",
    "Projects": "_sync.projects",
    "RequestEvent": "hooks",
    "ResponseEvent": "hooks",
    "Token": "_sync.connection",
    "UploadProgress": "pictures",
    "Usage": "_sync.usage",
    **dict.fromkeys(
        (
            "AgeRange",
            "AttemptOutcome",
            "AvatarOrder",
            "BodyType",
            "ErrorReason",
            "EyeColor",
            "Gender",
            "GenerationOrder",
            "GenerationPriority",
            "GenerationStage",
            "GenerationState",
            "HairColor",
            "HairStyle",
            "Headwear",
            "ImageVariant",
            "SkinTone",
            "SourceType",
            "Style",
            "UserOrder",
            "WorkerState",
        ),
        "enums",
    ),
    **dict.fromkeys(
        (
            "ActionCount",
            "AppUsageSummary",
            "Attributes",
            "AttributesFields",
            "Avatar",
            "AvatarBatch",
            "BulkCancellation",
            "BulkFailure",
            "BulkRetry",
            "DailySpend",
            "Estimate",
            "FailureCount",
            "Generation",
            "GenerationAttempt",
            "GenerationFailure",
            "GenerationLimits",
            "GenerationOptions",
            "GenerationStateCount",
            "Image",
            "OpenedProject",
            "Persona",
            "PersonaExample",
            "PersonaFields",
            "PictureModeration",
            "Preset",
            "Project",
            "Queue",
            "QueueDepth",
            "QueuePause",
            "QueueRoute",
            "Recipe",
            "RecordedUsage",
            "Reproduction",
            "RunningAttempt",
            "Stats",
            "UsageRecord",
            "UserActivity",
            "UserLimits",
            "Worker",
        ),
        "values",
    ),
}
"""Modules of the names that are imported at their first use. Most programs need only one of the clients, and
the values need protobuf."""

__version__: str
"""Version of the distribution `avatar-creator-client`."""

if not TYPE_CHECKING:  # type checkers would take any name for an attribute of this package

    def __getattr__(name: str) -> object:
        if name in _LAZY:
            value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
            globals()[name] = value
            return value
        if name == "__version__":
            # Imported only here, because the import takes about 50 ms.
            from importlib.metadata import version

            return version("avatar-creator-client")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return __all__
