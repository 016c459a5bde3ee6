"""Image classifiers with random weights, in the format of Falconsai/nsfw_image_detection."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

_SIDE_PIXELS = 32


def save_random_classifier(folder: Path, *, score: float | None = None) -> None:
    """Save a tiny vision transformer with the labels `normal` and `nsfw`.

    Args:
        folder: Folder of the model.
        score: The score that it gives every picture; None for scores that depend on the picture.
    """
    torch.manual_seed(0)
    model = ViTForImageClassification(
        ViTConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            image_size=_SIDE_PIXELS,
            patch_size=8,
            # Trained weights are of this order. With smaller ones, all pictures look the same to the model.
            initializer_range=1.0,
            id2label={0: "normal", 1: "nsfw"},
            label2id={"normal": 0, "nsfw": 1},
        )
    )
    if score is not None:
        with torch.no_grad():
            model.classifier.weight.zero_()
            model.classifier.bias.copy_(torch.tensor([0.0, torch.logit(torch.tensor(score))]))
    model.save_pretrained(folder)
    ViTImageProcessorPil(size={"height": _SIDE_PIXELS, "width": _SIDE_PIXELS}).save_pretrained(folder)
