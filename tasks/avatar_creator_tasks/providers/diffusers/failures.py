"""Translation of the failures of a local model into provider errors."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import structlog
import torch
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

from avatar_creator_tasks.gpu_extra import INSTALL_HINT
from avatar_creator_tasks.providers.base import PortraitRequest, ProviderError
from avatar_creator_tasks.providers.diffusers.settings import ModelSettings

log = structlog.get_logger()

_SERVER_ERROR = 500
_TRY_LATER = frozenset({408, 429})


class LoraError(Exception):
    """The LoRA, not the model, cannot be loaded."""


class SpeedError(Exception):
    """The model cannot be prepared for MODEL_SPEED."""


class VisionLibraryError(Exception):
    """The model has a part that needs torchvision, which is not installed."""


def unavailable(message: str) -> ProviderError:
    """Return the error of a worker that may draw at a later attempt."""
    return ProviderError("PROVIDER_UNAVAILABLE", message, retryable=True)


def gone(message: str) -> ProviderError:
    """Return the error of a worker that cannot draw with its settings."""
    return ProviderError("PROVIDER_GONE", message, retryable=False)


def rejected(message: str) -> ProviderError:
    """Return the error of a request that the model cannot draw."""
    return ProviderError("PROVIDER_REJECTED", message, retryable=False)


def loading_failure(error: Exception, settings: ModelSettings) -> ProviderError:
    """Log why a model cannot be loaded, and return the error for it."""
    # Without the traceback, because the hub's requests have this worker's token in their headers.
    links = list(_chain(error))
    log.warning(
        "model_load_failed", model=settings.model, error=[f"{type(link).__name__}: {link}" for link in links]
    )
    if isinstance(error, ProviderError):
        return error
    subject = f"the model {settings.model}"
    if isinstance(error, LoraError) and settings.lora is not None:
        subject = f"the LoRA {settings.lora.repository}"
    if any(_is_out_of_memory(link) for link in links):
        return _out_of_memory(f"loading {subject}")
    if isinstance(error, SpeedError):
        return gone(
            f"{subject} cannot draw with MODEL_SPEED={settings.speed}: see model_load_failed in the worker's "
            "log, or set MODEL_SPEED=exact"
        )
    if isinstance(error, VisionLibraryError):
        return gone(f"{subject} needs torchvision: install the extra gpu-vision too")
    if any(isinstance(link, ImportError) for link in links):
        return gone(f"a library for {subject} is missing: {INSTALL_HINT}")
    if any(isinstance(link, RepositoryNotFoundError) for link in links):
        return gone(
            f"{subject} is not on the hub, or HF_TOKEN does not give access: check the name and the token"
        )
    if any(_is_outage(link) for link in links):
        return unavailable(f"{subject} could not be downloaded: the hub could not be reached")
    return gone(f"{subject} could not be loaded: see model_load_failed in the worker's log")


def drawing_failure(error: Exception, request: PortraitRequest) -> ProviderError:
    """Log why a portrait was not drawn, and return the error for it."""
    if isinstance(error, ProviderError):
        return error
    log.warning("portrait_drawing_failed", exc_info=error)
    if _is_out_of_memory(error):
        return _out_of_memory(f"drawing {request.width}x{request.height} pixels")
    return unavailable("the model failed: see portrait_drawing_failed in the worker's log")


def _out_of_memory(activity: str) -> ProviderError:
    return unavailable(
        f"out of memory {activity}: request a smaller picture, or set MODEL_OFFLOAD=model or sequential, "
        "or MODEL_QUANTIZATION=8bit or 4bit"
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and the errors that caused it."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


def _is_out_of_memory(error: BaseException) -> bool:
    # On a CPU, torch has no exception type for this.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def _is_outage(error: BaseException) -> bool:
    """Return whether the hub, or the network to the hub, failed."""
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        return bool(status >= _SERVER_ERROR or status in _TRY_LATER)
    return isinstance(error, ConnectionError | TimeoutError | socket.gaierror | LocalEntryNotFoundError)
