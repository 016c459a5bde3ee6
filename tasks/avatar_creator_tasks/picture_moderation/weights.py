"""The check of a folder of weights, without the libraries that load them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from avatar_creator_server.settings import SettingsError, system_reason
from avatar_creator_tasks.gpu_extra import require_extra
from avatar_creator_tasks.picture_moderation.classifier import FLAGGED_LABELS, is_flagged_label

_LIBRARIES = ("torch", "transformers")
_MAX_SHOWN_LABELS = 8


def weights_error(folder: str, problem: str) -> SettingsError:
    """Return the error for an unusable folder. The problem completes a sentence about the folder."""
    return SettingsError(f"PICTURE_MODERATION {folder} {problem}")


def require_weights(folder: str) -> None:
    """Check that a folder is an image classifier of transformers, and that its libraries are installed.

    Raises:
        SettingsError: A file, a label or a library is missing.
    """
    path = Path(folder)
    if not path.exists():
        raise SettingsError(
            f"PICTURE_MODERATION is {folder}, but this folder does not exist on this machine: copy the "
            "model's folder there, or set a URL"
        )
    if not path.is_dir():
        raise SettingsError(
            f"PICTURE_MODERATION is {folder}, but this is not a folder: set the model's folder, or a URL"
        )
    labels = _labels(folder, _config(folder))
    if not any(map(is_flagged_label, labels)):
        shown = ", ".join(labels[:_MAX_SHOWN_LABELS]) or "none"
        raise weights_error(
            folder, f"has no label that is {' or '.join(FLAGGED_LABELS)}: its config.json has {shown}"
        )
    if not (path / "preprocessor_config.json").is_file():
        raise weights_error(folder, "has no preprocessor_config.json: copy all files of the model")
    if not any(path.glob("*.safetensors")):
        raise weights_error(
            folder,
            "has no weights in the format safetensors; other formats are not loaded, they can run code",
        )
    require_extra("PICTURE_MODERATION is a folder", _LIBRARIES)


def _config(folder: str) -> Any:
    try:
        return json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise weights_error(folder, "has no config.json: copy all files of the model") from None
    except OSError as error:
        raise weights_error(
            folder, f"has a config.json that cannot be read: {system_reason(error)}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise weights_error(folder, "has a config.json that is not JSON") from error


def _labels(folder: str, config: Any) -> list[str]:
    labels = config.get("id2label") if isinstance(config, dict) else None
    if not isinstance(labels, dict):
        raise weights_error(folder, "is not an image classifier: its config.json has no id2label")
    return [str(label) for label in labels.values()]
