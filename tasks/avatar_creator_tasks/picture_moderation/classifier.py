"""The interface of a classifier, and the score in an answer.

An answer has the form of Hugging Face's image classification, in the pipelines of transformers and in the
services: `[{"label": "nsfw", "score": 0.98}, {"label": "normal", "score": 0.02}]`. The source is
`ImageClassificationOutput` in github.com/huggingface/huggingface.js, packages/tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Protocol

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

FLAGGED_LABELS = ("nsfw", "unsafe")
"""Labels, in any case, of pictures that are not safe for work. Falconsai/nsfw_image_detection has `nsfw`."""


class NoVerdictError(Exception):
    """The classifier gave no usable answer. The message says why, and contains no secret."""


class LabelScore(BaseModel):
    """The score of one label."""

    model_config = ConfigDict(strict=True)

    label: Annotated[str, Field(max_length=200)]
    score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


ANSWER = TypeAdapter(list[LabelScore])
"""Decoder of an answer. It ignores additional fields, and refuses scores outside 0 to 1."""


class Classifier(Protocol):
    """Gives a picture a score."""

    @property
    def name(self) -> str:
        """The name of the classifier for recipes, without a path, a query or a secret."""

    async def load(self) -> None:
        """Load everything that the first score needs.

        Raises:
            SettingsError: The classifier cannot be used.
        """

    async def nsfw_score(self, image: Image.Image) -> float:
        """Return the probability that an RGB picture is not safe for work, 0 to 1.

        It may take forever: the caller limits the time.

        Raises:
            NoVerdictError: There is no usable answer, and another try would not help.
        """

    async def close(self) -> None:
        """Release all resources."""


def is_flagged_label(label: str) -> bool:
    """Return whether a label stands for pictures that are not safe for work."""
    return label.strip().casefold() in FLAGGED_LABELS


def nsfw_score_in(answer: Sequence[LabelScore]) -> float:
    """Return the highest score of the labels that are not safe for work.

    Raises:
        NoVerdictError: The answer has no such label.
    """
    scores = [each.score for each in answer if is_flagged_label(each.label)]
    if not scores:
        raise NoVerdictError(f"no label of the answer is {' or '.join(FLAGGED_LABELS)}")
    return max(scores)
