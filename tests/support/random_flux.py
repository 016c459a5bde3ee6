"""FLUX.1 models with random weights, tiny or as large as the real ones."""

from __future__ import annotations

import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxTransformer2DModel,
)
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

_WORD_END = "</w>"
_CLIP_TOKENS = 77


@dataclass(frozen=True, slots=True)
class FluxSize:
    """The size of a FLUX model."""

    double_blocks: int
    single_blocks: int
    heads: int
    head_dimension: int
    rope_dimensions: tuple[int, int, int]
    """Dimensions of the rotary embedding; their sum is the dimension of a head."""
    t5_width: int
    clip_width: int
    vae_channels: tuple[int, ...]
    """Channels of each level of the VAE; between two levels, it halves the size."""
    vae_layers: int
    vae_groups: int
    latent_channels: int
    latent_scale: float
    """Factor that gives latents a variance of about 1."""


TINY = FluxSize(1, 1, 2, 16, (4, 4, 8), 32, 32, (4, 4, 4, 4), 1, 1, 4, 2.5)
"""Size at which a step of 64x64 pixels takes milliseconds on a CPU."""

FLUX_1_DEV = FluxSize(19, 38, 24, 128, (16, 56, 56), 4096, 768, (128, 256, 512, 512), 2, 32, 16, 0.3611)
"""Size of black-forest-labs/FLUX.1-dev, from its configuration files. Of the text encoders, only the width is
real."""


def save_random_flux(
    folder: Path,
    size: FluxSize = TINY,
    *,
    guidance: bool = True,
    pipeline: str = "FluxPipeline",
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> None:
    """Save a FLUX.1 model in the format of `DiffusionPipeline.from_pretrained`.

    Each call creates the same weights.

    Args:
        folder: Folder of the model.
        size: Size of the model.
        guidance: False for FLUX.1-schnell, which reads no guidance scale and has no dynamic shift.
        pipeline: Name of the pipeline's class in diffusers.
        device: Device that creates the weights; a CPU is slow for large models.
        dtype: Data type of the weights.
    """
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = getattr(diffusers, pipeline)(
                scheduler=FlowMatchEulerDiscreteScheduler(
                    shift=3.0 if guidance else 1.0, use_dynamic_shifting=guidance
                ),
                transformer=_transformer(size, guidance=guidance),
                vae=_vae(size),
                **clip(size.clip_width),
                **_t5(size.t5_width),
            )
    finally:
        torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder)


def _transformer(size: FluxSize, *, guidance: bool) -> Any:
    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=4 * size.latent_channels,
        num_layers=size.double_blocks,
        num_single_layers=size.single_blocks,
        attention_head_dim=size.head_dimension,
        num_attention_heads=size.heads,
        joint_attention_dim=size.t5_width,
        pooled_projection_dim=size.clip_width,
        axes_dims_rope=size.rope_dimensions,
        guidance_embeds=guidance,
    )


def _vae(size: FluxSize) -> Any:
    blocks = len(size.vae_channels)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * blocks,
        up_block_types=("UpDecoderBlock2D",) * blocks,
        block_out_channels=size.vae_channels,
        layers_per_block=size.vae_layers,
        norm_num_groups=size.vae_groups,
        latent_channels=size.latent_channels,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=size.latent_scale,
        shift_factor=0.1159,
    )
    with torch.no_grad():
        # Logarithm of the variance of the encoding: almost none, as in a trained model.
        vae.encoder.conv_out.bias[size.latent_channels :] = -20.0
    return vae


def clip(width: int) -> dict[str, Any]:
    """Return CLIP's text encoder, and a tokenizer with one token per letter, by name of the part."""
    letters = sorted(ByteLevel.alphabet())
    pieces = [*letters, *(letter + _WORD_END for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=_CLIP_TOKENS)
    config = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=_CLIP_TOKENS,
        bos_token_id=vocabulary["<|startoftext|>"],
        eos_token_id=vocabulary["<|endoftext|>"],
        # Trained weights are of this order. With smaller weights, all prompts look the same to the model.
        initializer_factor=10.0,
    )
    return {"text_encoder": CLIPTextModel(config).eval(), "tokenizer": tokenizer}


def _t5(width: int) -> dict[str, Any]:
    """Create T5's encoder and a tokenizer with one token per letter and per space in front of a word."""
    pieces = ["<pad>", "</s>", "<unk>", "▁", *string.printable.strip()]
    tokenizer = T5TokenizerFast(vocab=[(piece, -1.0) for piece in pieces], extra_ids=0)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=width,
        d_kv=16,
        d_ff=2 * width,
        num_layers=1,
        num_heads=2,
        feed_forward_proj="gated-gelu",
    )
    return {"text_encoder_2": T5EncoderModel(config).eval(), "tokenizer_2": tokenizer}
