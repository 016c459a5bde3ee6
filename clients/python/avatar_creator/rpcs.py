"""Every RPC of the contract: its path, its response class and whether the client may retry it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from avatar_creator.v1 import (
    avatar_project_service_pb2,
    avatar_service_pb2,
    generation_service_pb2,
    operations_service_pb2,
    preset_service_pb2,
    usage_service_pb2,
)

Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True, slots=True)
class Rpc(Generic[Response]):
    """One RPC of the contract."""

    service: str
    """Name of the gRPC service, without its package."""
    method: str
    """Name of the RPC in its service."""
    response: type[Response]
    """Class of the response, or of each message of a response stream."""
    retryable: bool
    """True if a second call is safe after UNAVAILABLE, when the first one may have succeeded."""
    transfer: bool = False
    """True if the call carries a picture or changes many resources: it has the longer default deadline."""

    @property
    def path(self) -> str:
        """The HTTP/2 path of the RPC."""
        return f"/avatar_creator.v1.{self.service}/{self.method}"


_PROJECTS = "AvatarProjectService"
_AVATARS = "AvatarService"
_GENERATIONS = "GenerationService"
_USAGE = "UsageService"
_PRESETS = "PresetService"
_OPERATIONS = "OperationsService"

# The client retries reads; calls with a request_id, which it always sets; and cancels, which return the same
# result the second time. It retries deletes only if the service has not begun them: the second one would fail
# with NOT_FOUND although the first one succeeded.

CREATE_PROJECT = Rpc(_PROJECTS, "CreateProject", avatar_project_service_pb2.CreateProjectResponse, True)
GET_PROJECT = Rpc(_PROJECTS, "GetProject", avatar_project_service_pb2.GetProjectResponse, True)
LIST_PROJECTS = Rpc(_PROJECTS, "ListProjects", avatar_project_service_pb2.ListProjectsResponse, True)
UPDATE_PROJECT = Rpc(_PROJECTS, "UpdateProject", avatar_project_service_pb2.UpdateProjectResponse, True)
DELETE_PROJECT = Rpc(_PROJECTS, "DeleteProject", avatar_project_service_pb2.DeleteProjectResponse, False)

UPLOAD_AVATAR = Rpc(_AVATARS, "UploadAvatar", avatar_service_pb2.UploadAvatarResponse, True, transfer=True)
GET_AVATAR = Rpc(_AVATARS, "GetAvatar", avatar_service_pb2.GetAvatarResponse, True)
BATCH_GET_AVATARS = Rpc(_AVATARS, "BatchGetAvatars", avatar_service_pb2.BatchGetAvatarsResponse, True)
LIST_AVATARS = Rpc(_AVATARS, "ListAvatars", avatar_service_pb2.ListAvatarsResponse, True)
UPDATE_AVATAR = Rpc(_AVATARS, "UpdateAvatar", avatar_service_pb2.UpdateAvatarResponse, True)
DELETE_AVATAR = Rpc(_AVATARS, "DeleteAvatar", avatar_service_pb2.DeleteAvatarResponse, False)
DOWNLOAD_IMAGE = Rpc(_AVATARS, "DownloadImage", avatar_service_pb2.DownloadImageResponse, True, transfer=True)

CREATE_GENERATION = Rpc(
    _GENERATIONS, "CreateGeneration", generation_service_pb2.CreateGenerationResponse, True
)
ESTIMATE_GENERATION = Rpc(
    _GENERATIONS, "EstimateGeneration", generation_service_pb2.EstimateGenerationResponse, True
)
GET_GENERATION = Rpc(_GENERATIONS, "GetGeneration", generation_service_pb2.GetGenerationResponse, True)
LIST_GENERATIONS = Rpc(_GENERATIONS, "ListGenerations", generation_service_pb2.ListGenerationsResponse, True)
WATCH_GENERATION = Rpc(_GENERATIONS, "WatchGeneration", generation_service_pb2.WatchGenerationResponse, True)
WATCH_GENERATIONS = Rpc(
    _GENERATIONS, "WatchGenerations", generation_service_pb2.WatchGenerationsResponse, True
)
CANCEL_GENERATION = Rpc(
    _GENERATIONS, "CancelGeneration", generation_service_pb2.CancelGenerationResponse, True
)
RETRY_GENERATION = Rpc(_GENERATIONS, "RetryGeneration", generation_service_pb2.RetryGenerationResponse, True)

RECORD_USAGE = Rpc(_USAGE, "RecordUsage", usage_service_pb2.RecordUsageResponse, True)
LIST_USAGE = Rpc(_USAGE, "ListUsage", usage_service_pb2.ListUsageResponse, True)
SUMMARIZE_USAGE = Rpc(_USAGE, "SummarizeUsage", usage_service_pb2.SummarizeUsageResponse, True)
GET_STATS = Rpc(_USAGE, "GetStats", usage_service_pb2.GetStatsResponse, True)

LIST_PRESETS = Rpc(_PRESETS, "ListPresets", preset_service_pb2.ListPresetsResponse, True)
GET_PRESET = Rpc(_PRESETS, "GetPreset", preset_service_pb2.GetPresetResponse, True)
LIST_PERSONA_EXAMPLES = Rpc(
    _PRESETS, "ListPersonaExamples", preset_service_pb2.ListPersonaExamplesResponse, True
)
GET_PERSONA_EXAMPLE = Rpc(_PRESETS, "GetPersonaExample", preset_service_pb2.GetPersonaExampleResponse, True)

# The service retries each generation at most once in a bulk call, so that the client may repeat the call.
LIST_WORKERS = Rpc(_OPERATIONS, "ListWorkers", operations_service_pb2.ListWorkersResponse, True)
DRAIN_WORKER = Rpc(_OPERATIONS, "DrainWorker", operations_service_pb2.DrainWorkerResponse, True)
RESUME_WORKER = Rpc(_OPERATIONS, "ResumeWorker", operations_service_pb2.ResumeWorkerResponse, True)
GET_QUEUE = Rpc(_OPERATIONS, "GetQueue", operations_service_pb2.GetQueueResponse, True)
PAUSE_QUEUE = Rpc(_OPERATIONS, "PauseQueue", operations_service_pb2.PauseQueueResponse, True)
RESUME_QUEUE = Rpc(_OPERATIONS, "ResumeQueue", operations_service_pb2.ResumeQueueResponse, True)
RETRY_NOW = Rpc(_OPERATIONS, "RetryNow", operations_service_pb2.RetryNowResponse, True)
BULK_CANCEL_GENERATIONS = Rpc(
    _OPERATIONS,
    "BulkCancelGenerations",
    operations_service_pb2.BulkCancelGenerationsResponse,
    True,
    transfer=True,
)
BULK_RETRY_GENERATIONS = Rpc(
    _OPERATIONS,
    "BulkRetryGenerations",
    operations_service_pb2.BulkRetryGenerationsResponse,
    True,
    transfer=True,
)
LIST_USERS = Rpc(_OPERATIONS, "ListUsers", operations_service_pb2.ListUsersResponse, True)
GET_USER_LIMITS = Rpc(_OPERATIONS, "GetUserLimits", operations_service_pb2.GetUserLimitsResponse, True)
SET_USER_LIMITS = Rpc(_OPERATIONS, "SetUserLimits", operations_service_pb2.SetUserLimitsResponse, True)
CLEAR_USER_LIMITS = Rpc(_OPERATIONS, "ClearUserLimits", operations_service_pb2.ClearUserLimitsResponse, True)

ALL: tuple[Rpc[Any], ...] = tuple(value for value in vars().values() if isinstance(value, Rpc))


def serialize(request: Message) -> bytes:
    """Return the bytes of the request, as gRPC sends them."""
    return request.SerializeToString()
