"""The classifier in a folder of weights, which stays loaded and runs in one thread.

Its libraries come with the extra `gpu`. They are imported when the weights are loaded, not with this module.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import structlog
from PIL import Image
from pydantic import ValidationError

from avatar_creator_tasks.picture_moderation.classifier import ANSWER, NoVerdictError, nsfw_score_in
from avatar_creator_tasks.picture_moderation.weights import require_weights, weights_error

log = structlog.get_logger()

_TRIAL_PIXELS = 64


class FolderClassifier:
    """An image classifier of transformers, such as Falconsai/nsfw_image_detection.

    It runs on the CPU, and leaves the memory of the graphics card to the model that draws.
    """

    def __init__(self, folder: str) -> None:
        """Create the classifier; `load` loads the weights.

        Raises:
            SettingsError: The folder is no classifier, or its libraries are not installed.
        """
        require_weights(folder)
        self._folder = folder
        # One thread: two at the same time would only share the processor.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="picture-classifier")
        self._pipeline: Any = None

    @property
    def name(self) -> str:
        """The last part of the folder's path."""
        return Path(self._folder).resolve().name

    async def load(self) -> None:
        """Load the weights, and classify a gray picture to see that they work.

        Raises:
            SettingsError: The weights cannot be loaded or used.
        """
        loop = asyncio.get_running_loop()
        try:
            self._pipeline = await loop.run_in_executor(self._thread, self._load)
            await self.nsfw_score(Image.new("RGB", (_TRIAL_PIXELS, _TRIAL_PIXELS), "gray"))
        except NoVerdictError as error:
            raise weights_error(self._folder, f"gives a gray picture no usable score: {error}") from error
        log.info("picture_classifier_loaded", classifier=self.name)

    async def nsfw_score(self, image: Image.Image) -> float:
        """Return the probability that a picture is not safe for work.

        Raises:
            NoVerdictError: The scores are no numbers from 0 to 1.
        """
        loop = asyncio.get_running_loop()
        answer = await loop.run_in_executor(self._thread, lambda: self._pipeline(image, top_k=None))
        try:
            return nsfw_score_in(ANSWER.validate_python(answer))
        except ValidationError:
            raise NoVerdictError("a score is not a number from 0 to 1") from None

    async def close(self) -> None:
        """Wait for the current picture, and release the weights."""
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)
        self._pipeline = None

    def _load(self) -> Any:
        # Nothing here may reach the network or run code of the folder: only its files, only safetensors.
        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            from transformers import AutoImageProcessor, AutoModelForImageClassification, pipeline
            from transformers.utils import logging

            logging.disable_progress_bar()
            logging.set_verbosity_error()
            model, report = AutoModelForImageClassification.from_pretrained(
                self._folder, use_safetensors=True, output_loading_info=True, **local
            )
            processor = AutoImageProcessor.from_pretrained(self._folder, **local)
            loaded = pipeline("image-classification", model=model, image_processor=processor, device="cpu")
        except Exception as error:  # The libraries raise almost everything for a damaged file.
            log.exception("picture_classifier_load_failed", folder=self._folder)
            raise weights_error(
                self._folder,
                "cannot be loaded as an image classifier; the log has the cause as "
                "picture_classifier_load_failed",
            ) from error
        if report["missing_keys"]:
            # transformers fills these with random numbers, and only warns.
            lacking = min(report["missing_keys"])
            raise weights_error(self._folder, f"lacks weights, for example {lacking}: copy all files again")
        return loaded
