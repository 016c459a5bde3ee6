# Generated from protos by `make protos`. Do not edit: change the contract instead.
"""Every RPC of the contract: its path, its response class, its deadline and whether it may be retried."""

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

CALL_SECONDS = 10.0
"""Default deadline of a call, in seconds."""
TRANSFER_SECONDS = 60.0
"""Default deadline of a call that carries a picture or changes many resources, in seconds."""


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
    """True if the call has the longer default deadline."""

    @property
    def path(self) -> str:
        """The HTTP/2 path of the RPC."""
        return f"/avatar_creator.v1.{self.service}/{self.method}"


CREATE_PROJECT = Rpc(
    "AvatarProjectService", "CreateProject", avatar_project_service_pb2.CreateProjectResponse, retryable=True
)
GET_PROJECT = Rpc(
    "AvatarProjectService", "GetProject", avatar_project_service_pb2.GetProjectResponse, retryable=True
)
LIST_PROJECTS = Rpc(
    "AvatarProjectService", "ListProjects", avatar_project_service_pb2.ListProjectsResponse, retryable=True
)
UPDATE_PROJECT = Rpc(
    "AvatarProjectService", "UpdateProject", avatar_project_service_pb2.UpdateProjectResponse, retryable=True
)
DELETE_PROJECT = Rpc(
    "AvatarProjectService", "DeleteProject", avatar_project_service_pb2.DeleteProjectResponse, retryable=False
)

UPLOAD_AVATAR = Rpc(
    "AvatarService", "UploadAvatar", avatar_service_pb2.UploadAvatarResponse, retryable=True, transfer=True
)
GET_AVATAR = Rpc("AvatarService", "GetAvatar", avatar_service_pb2.GetAvatarResponse, retryable=True)
BATCH_GET_AVATARS = Rpc(
    "AvatarService", "BatchGetAvatars", avatar_service_pb2.BatchGetAvatarsResponse, retryable=True
)
LIST_AVATARS = Rpc("AvatarService", "ListAvatars", avatar_service_pb2.ListAvatarsResponse, retryable=True)
UPDATE_AVATAR = Rpc("AvatarService", "UpdateAvatar", avatar_service_pb2.UpdateAvatarResponse, retryable=True)
DELETE_AVATAR = Rpc("AvatarService", "DeleteAvatar", avatar_service_pb2.DeleteAvatarResponse, retryable=False)
DOWNLOAD_IMAGE = Rpc(
    "AvatarService", "DownloadImage", avatar_service_pb2.DownloadImageResponse, retryable=True, transfer=True
)

CREATE_GENERATION = Rpc(
    "GenerationService", "CreateGeneration", generation_service_pb2.CreateGenerationResponse, retryable=True
)
ESTIMATE_GENERATION = Rpc(
    "GenerationService",
    "EstimateGeneration",
    generation_service_pb2.EstimateGenerationResponse,
    retryable=True,
)
GET_GENERATION = Rpc(
    "GenerationService", "GetGeneration", generation_service_pb2.GetGenerationResponse, retryable=True
)
LIST_GENERATIONS = Rpc(
    "GenerationService", "ListGenerations", generation_service_pb2.ListGenerationsResponse, retryable=True
)
WATCH_GENERATION = Rpc(
    "GenerationService", "WatchGeneration", generation_service_pb2.WatchGenerationResponse, retryable=True
)
WATCH_GENERATIONS = Rpc(
    "GenerationService", "WatchGenerations", generation_service_pb2.WatchGenerationsResponse, retryable=True
)
CANCEL_GENERATION = Rpc(
    "GenerationService", "CancelGeneration", generation_service_pb2.CancelGenerationResponse, retryable=True
)
RETRY_GENERATION = Rpc(
    "GenerationService", "RetryGeneration", generation_service_pb2.RetryGenerationResponse, retryable=True
)

LIST_WORKERS = Rpc(
    "OperationsService", "ListWorkers", operations_service_pb2.ListWorkersResponse, retryable=True
)
DRAIN_WORKER = Rpc(
    "OperationsService", "DrainWorker", operations_service_pb2.DrainWorkerResponse, retryable=True
)
RESUME_WORKER = Rpc(
    "OperationsService", "ResumeWorker", operations_service_pb2.ResumeWorkerResponse, retryable=True
)
GET_QUEUE = Rpc("OperationsService", "GetQueue", operations_service_pb2.GetQueueResponse, retryable=True)
PAUSE_QUEUE = Rpc(
    "OperationsService", "PauseQueue", operations_service_pb2.PauseQueueResponse, retryable=True
)
RESUME_QUEUE = Rpc(
    "OperationsService", "ResumeQueue", operations_service_pb2.ResumeQueueResponse, retryable=True
)
RETRY_NOW = Rpc("OperationsService", "RetryNow", operations_service_pb2.RetryNowResponse, retryable=True)
BULK_CANCEL_GENERATIONS = Rpc(
    "OperationsService",
    "BulkCancelGenerations",
    operations_service_pb2.BulkCancelGenerationsResponse,
    retryable=False,
    transfer=True,
)
BULK_RETRY_GENERATIONS = Rpc(
    "OperationsService",
    "BulkRetryGenerations",
    operations_service_pb2.BulkRetryGenerationsResponse,
    retryable=False,
    transfer=True,
)
LIST_USERS = Rpc("OperationsService", "ListUsers", operations_service_pb2.ListUsersResponse, retryable=True)
GET_USER_LIMITS = Rpc(
    "OperationsService", "GetUserLimits", operations_service_pb2.GetUserLimitsResponse, retryable=True
)
SET_USER_LIMITS = Rpc(
    "OperationsService", "SetUserLimits", operations_service_pb2.SetUserLimitsResponse, retryable=True
)
CLEAR_USER_LIMITS = Rpc(
    "OperationsService", "ClearUserLimits", operations_service_pb2.ClearUserLimitsResponse, retryable=True
)

LIST_PRESETS = Rpc("PresetService", "ListPresets", preset_service_pb2.ListPresetsResponse, retryable=True)
GET_PRESET = Rpc("PresetService", "GetPreset", preset_service_pb2.GetPresetResponse, retryable=True)
LIST_PERSONA_EXAMPLES = Rpc(
    "PresetService", "ListPersonaExamples", preset_service_pb2.ListPersonaExamplesResponse, retryable=True
)
GET_PERSONA_EXAMPLE = Rpc(
    "PresetService", "GetPersonaExample", preset_service_pb2.GetPersonaExampleResponse, retryable=True
)

RECORD_USAGE = Rpc("UsageService", "RecordUsage", usage_service_pb2.RecordUsageResponse, retryable=True)
LIST_USAGE = Rpc("UsageService", "ListUsage", usage_service_pb2.ListUsageResponse, retryable=True)
SUMMARIZE_USAGE = Rpc(
    "UsageService", "SummarizeUsage", usage_service_pb2.SummarizeUsageResponse, retryable=True
)
GET_STATS = Rpc("UsageService", "GetStats", usage_service_pb2.GetStatsResponse, retryable=True)

ALL: tuple[Rpc[Any], ...] = tuple(value for value in vars().values() if isinstance(value, Rpc))


def serialize(request: Message) -> bytes:
    """Return the bytes of the request, as gRPC sends them."""
    return request.SerializeToString()
