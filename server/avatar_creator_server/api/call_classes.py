"""Classes of calls: reads, writes, watches, transfers and calls without a token have limits of their own."""

from __future__ import annotations

from enum import StrEnum
from functools import cache

_CONTRACT = "/avatar_creator.v1."


class CallClass(StrEnum):
    """Kinds of calls that share a limit. The values are the names of the limits in errors and metrics."""

    READ = "reads"
    WRITE = "writes"
    WATCH = "watches"
    TRANSFER = "transfers"
    """Uploads and downloads, which `api/transfers.py` bounds."""
    ANONYMOUS_STREAM = "streams without a token"
    """Health watches and reflection. The machine that opens them stands for the user."""
    UNBOUNDED = "others"
    """Single health checks, which cost almost nothing, and methods that do not exist."""


_CLASS_OF_PATH = {
    "/grpc.health.v1.Health/Watch": CallClass.ANONYMOUS_STREAM,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": CallClass.ANONYMOUS_STREAM,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": CallClass.ANONYMOUS_STREAM,
}

CLASS_OF_RPC = {
    "CreateProject": CallClass.WRITE,
    "GetProject": CallClass.READ,
    "ListProjects": CallClass.READ,
    "UpdateProject": CallClass.WRITE,
    "DeleteProject": CallClass.WRITE,
    "UploadAvatar": CallClass.TRANSFER,
    "GetAvatar": CallClass.READ,
    "BatchGetAvatars": CallClass.READ,
    "ListAvatars": CallClass.READ,
    "UpdateAvatar": CallClass.WRITE,
    "DeleteAvatar": CallClass.WRITE,
    "DownloadImage": CallClass.TRANSFER,
    "CreateGeneration": CallClass.WRITE,
    "EstimateGeneration": CallClass.READ,
    "GetGeneration": CallClass.READ,
    "ListGenerations": CallClass.READ,
    "WatchGeneration": CallClass.WATCH,
    "WatchGenerations": CallClass.WATCH,
    "CancelGeneration": CallClass.WRITE,
    "RetryGeneration": CallClass.WRITE,
    "ListPresets": CallClass.READ,
    "GetPreset": CallClass.READ,
    "ListPersonaExamples": CallClass.READ,
    "GetPersonaExample": CallClass.READ,
    "RecordUsage": CallClass.WRITE,
    "ListUsage": CallClass.READ,
    "SummarizeUsage": CallClass.READ,
    "GetStats": CallClass.READ,
    "ListWorkers": CallClass.READ,
    "DrainWorker": CallClass.WRITE,
    "ResumeWorker": CallClass.WRITE,
    "GetQueue": CallClass.READ,
    "PauseQueue": CallClass.WRITE,
    "ResumeQueue": CallClass.WRITE,
    "RetryNow": CallClass.WRITE,
    "BulkCancelGenerations": CallClass.WRITE,
    "BulkRetryGenerations": CallClass.WRITE,
    "ListUsers": CallClass.READ,
    "GetUserLimits": CallClass.READ,
    "SetUserLimits": CallClass.WRITE,
    "ClearUserLimits": CallClass.WRITE,
}
"""The class of every RPC of the contract, by its name."""


@cache
def class_of(method: str) -> CallClass:
    """Return the class of an RPC, given its path. Only for RPCs that exist, because the answer is cached."""
    if method.startswith(_CONTRACT):
        return CLASS_OF_RPC.get(method.rpartition("/")[2], CallClass.UNBOUNDED)
    return _CLASS_OF_PATH.get(method, CallClass.UNBOUNDED)
