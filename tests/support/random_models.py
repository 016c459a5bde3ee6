"""Tiny models with random weights, one for each model of the table that has weights.

The parts have the classes of the real models, from the index in each model's repository on the hub. The sizes
are those with which diffusers tests its own pipelines, where they are given. The tokenizers are made here:
nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
    Krea2Pipeline,
    Krea2Transformer2DModel,
    QwenImageEditPipeline,
    QwenImageEditPlusPipeline,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
    Qwen3VLConfig,
    Qwen3VLModel,
)

from tests.support.processors import PixtralProcessor, Qwen2VLProcessor
from tests.support.random_flux import TINY, clip, save_random_flux

_WIDTH = 16
"""Width of the text encoders."""
_QWEN_SPECIAL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"),
    *("<|image_pad|>", "<|video_pad|>", "<|vision_pad|>"),
)
_QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_MISTRAL_SPECIAL = ("<unk>", "<s>", "</s>", "<pad>", "[INST]", "[/INST]", "[IMG]", "[IMG_BREAK]", "[IMG_END]")
_MISTRAL_TEMPLATE = (
    "<s>{% for message in messages %}{% for part in message.content %}"
    "{% if message.role == 'user' %}[INST]{{ part.text }}[/INST]{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endfor %}"
)


def save_random_model(parent: Path, model: str) -> Path:
    """Save the tiny form of a model in a folder with the model's name, and return the folder.

    Each call creates the same weights.

    Args:
        parent: Folder in which the model gets its folder.
        model: Id of the model on the hub.
    """
    name = model.rpartition("/")[2]
    folder = parent / name
    torch.manual_seed(0)
    _MODELS[name](folder)
    return folder


def save_random_lora(folder: Path, model: Path, weight_file: str) -> None:
    """Save a LoRA for a model of `save_random_model`, in the format of training scripts.

    Args:
        folder: Folder for the file.
        model: Folder of the model.
        weight_file: Name of the file.
    """
    pipeline = DiffusionPipeline.from_pretrained(model)
    part = "unet" if hasattr(pipeline, "unet") else "transformer"
    denoiser = getattr(pipeline, part)
    torch.manual_seed(1)
    # Both matrices are random: the usual initialization for training changes nothing.
    denoiser.add_adapter(
        LoraConfig(
            r=4, lora_alpha=4, init_lora_weights=False, target_modules=["to_k", "to_q", "to_v", "to_out.0"]
        )
    )
    layers = {f"{part}_lora_layers": get_peft_model_state_dict(denoiser)}
    pipeline.save_lora_weights(folder, weight_name=weight_file, **layers)


def calm(folder: Path) -> None:
    """Change a model so that it does nearly the same in each step, as a trained model does.

    With random weights, the steps have little in common, and a cache of the last step never acts.
    """
    [file] = (folder / "transformer").glob("*.safetensors")
    weights = load_file(file)
    for name, tensor in weights.items():
        if "timestep_embedder." in name:
            tensor.mul_(0.05)
        elif name.startswith("proj_out."):
            tensor.mul_(0.1)
    save_file(weights, file)


def _save_flux_2(folder: Path) -> None:
    tokenizer = _byte_tokenizer(PreTrainedTokenizerFast, _MISTRAL_SPECIAL, _MISTRAL_TEMPLATE)
    text_encoder = Mistral3ForConditionalGeneration(
        Mistral3Config(
            text_config={
                "model_type": "mistral",
                "vocab_size": len(tokenizer),
                "hidden_size": _WIDTH,
                "intermediate_size": 2 * _WIDTH,
                "num_attention_heads": 4,
                # The pipeline reads the layers 10, 20 and 30.
                "num_hidden_layers": 30,
                "num_key_value_heads": 2,
                "initializer_range": 0.3,
                "sliding_window": None,
            },
            vision_config={
                "model_type": "pixtral",
                "hidden_size": _WIDTH,
                "num_hidden_layers": 1,
                "num_attention_heads": 4,
                "intermediate_size": 2 * _WIDTH,
                "image_size": 30,
                "patch_size": 6,
            },
            image_token_index=tokenizer.convert_tokens_to_ids("[IMG]"),
        )
    ).eval()
    Flux2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=_flux_2_vae(),
        text_encoder=text_encoder,
        tokenizer=PixtralProcessor(tokenizer),
        transformer=_flux_2_transformer(guidance=True),
    ).save_pretrained(folder)


def _save_flux_2_klein(folder: Path) -> None:
    tokenizer = _qwen_tokenizer()
    Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=_flux_2_vae(),
        # The pipeline reads the layers 9, 18 and 27.
        text_encoder=Qwen3ForCausalLM(_qwen_3(tokenizer, layers=27)).eval(),
        tokenizer=tokenizer,
        transformer=_flux_2_transformer(guidance=False),
        is_distilled=True,
    ).save_pretrained(folder)


def _flux_2_transformer(*, guidance: bool) -> Any:
    return Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=3 * _WIDTH,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guidance,
    )


def _flux_2_vae() -> Any:
    vae = AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 4, 4),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=1,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    return vae.eval()


def _save_z_image(folder: Path) -> None:
    tokenizer = _qwen_tokenizer()
    transformer = ZImageTransformer2DModel(
        in_channels=4,
        dim=32,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=_WIDTH,
        axes_dims=[8, 4, 4],
        axes_lens=[1024, 128, 128],
    )
    with torch.no_grad():
        # Their memory is not initialized.
        transformer.x_pad_token.fill_(1.0)
        transformer.cap_pad_token.fill_(1.0)
    ZImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_vae(scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=Qwen3Model(_qwen_3(tokenizer, layers=2)).eval(),
        tokenizer=tokenizer,
        transformer=transformer,
    ).save_pretrained(folder)


def _save_krea_2(folder: Path) -> None:
    tokenizer = _qwen_tokenizer()
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": _WIDTH,
            "intermediate_size": 2 * _WIDTH,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "initializer_range": 0.3,
            "rope_parameters": {"mrope_section": [2, 1, 1], "rope_type": "default", "rope_theta": 10_000.0},
        },
        vision_config={
            "depth": 1,
            "hidden_size": _WIDTH,
            "intermediate_size": 2 * _WIDTH,
            "num_heads": 2,
            "out_hidden_size": _WIDTH,
            "deepstack_visual_indexes": [0],
        },
    )
    Krea2Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, max_image_seq_len=6400),
        vae=_qwen_image_vae(3),
        text_encoder=Qwen3VLModel(config).eval(),
        tokenizer=tokenizer,
        transformer=Krea2Transformer2DModel(
            in_channels=16,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=32,
            timestep_embed_dim=8,
            text_hidden_dim=_WIDTH,
            num_text_layers=3,
            text_num_attention_heads=2,
            text_num_key_value_heads=1,
            text_intermediate_size=16,
            num_layerwise_text_blocks=1,
            num_refiner_text_blocks=1,
            axes_dims_rope=(4, 2, 2),
        ),
        text_encoder_select_layers=(0, 1, 2),
        is_distilled=True,
    ).save_pretrained(folder)


def _save_qwen_image(folder: Path) -> None:
    QwenImagePipeline(**_qwen_image_parts(halvings=3)).save_pretrained(folder)


def _save_qwen_image_edit(folder: Path, pipeline: type[DiffusionPipeline] = QwenImageEditPipeline) -> None:
    # The pipeline enlarges each reference to a megapixel. One halving more leaves a quarter of the work.
    parts = _qwen_image_parts(halvings=4)
    pipeline(**parts, processor=Qwen2VLProcessor.of(parts["tokenizer"])).save_pretrained(folder)


def _qwen_image_parts(*, halvings: int) -> dict[str, Any]:
    tokenizer = _qwen_tokenizer()
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": _WIDTH,
            "intermediate_size": 2 * _WIDTH,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "initializer_range": 0.3,
            "rope_parameters": {"mrope_section": [1, 1, 2], "rope_type": "default", "rope_theta": 10_000.0},
        },
        vision_config={
            "depth": 1,
            "hidden_size": _WIDTH,
            "intermediate_size": 2 * _WIDTH,
            "num_heads": 2,
            "out_hidden_size": _WIDTH,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
    )
    return {
        "scheduler": FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=True),
        "vae": _qwen_image_vae(halvings),
        "text_encoder": Qwen2_5_VLForConditionalGeneration(config).eval(),
        "tokenizer": tokenizer,
        "transformer": QwenImageTransformer2DModel(
            in_channels=16,
            out_channels=4,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=1,
            joint_attention_dim=_WIDTH,
            axes_dims_rope=(8, 4, 4),
        ),
    }


def _qwen_image_vae(halvings: int) -> Any:
    return AutoencoderKLQwenImage(
        base_dim=4,
        z_dim=4,
        dim_mult=[1] * (halvings + 1),
        num_res_blocks=1,
        temperal_downsample=[False] + [True] * (halvings - 1),
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )


def _save_sdxl(folder: Path) -> None:
    first = clip(32)
    vocabulary = first["text_encoder"].config
    second = CLIPTextModelWithProjection(CLIPTextConfig(**{**vocabulary.to_dict(), "projection_dim": 32}))
    StableDiffusionXLPipeline(
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            timestep_spacing="leading",
            steps_offset=1,
        ),
        vae=_vae(scaling_factor=0.13025),
        text_encoder=first["text_encoder"],
        text_encoder_2=second.eval(),
        tokenizer=first["tokenizer"],
        tokenizer_2=clip(32)["tokenizer"],
        unet=UNet2DConditionModel(
            block_out_channels=(8, 8),
            layers_per_block=1,
            in_channels=4,
            out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            attention_head_dim=(2, 2),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            transformer_layers_per_block=(1, 1),
            # Six numbers of 8 dimensions each, and the second text encoder's projection.
            projection_class_embeddings_input_dim=6 * 8 + 32,
            cross_attention_dim=2 * 32,
            norm_num_groups=1,
        ),
    ).save_pretrained(folder)


def _vae(**config: float) -> Any:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 4, 4),
        layers_per_block=1,
        norm_num_groups=1,
        latent_channels=4,
        **config,
    )


def _qwen_tokenizer() -> Any:
    return _byte_tokenizer(Qwen2Tokenizer, _QWEN_SPECIAL, _QWEN_TEMPLATE)


def _qwen_3(tokenizer: Any, *, layers: int) -> Qwen3Config:
    return Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=_WIDTH,
        intermediate_size=2 * _WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        # With smaller weights, all prompts look the same to the model.
        initializer_range=0.3,
    )


def _byte_tokenizer(tokenizer_class: Any, special: tuple[str, ...], template: str) -> Any:
    """Return a tokenizer with one token for each byte, and the special tokens of a family."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {piece: number for number, piece in enumerate([*sorted(ByteLevel.alphabet()), *special])}
    if tokenizer_class is PreTrainedTokenizerFast:
        core = Tokenizer(models.BPE(vocabulary, merges=[]))
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        core.decoder = decoders.ByteLevel()
        tokenizer = tokenizer_class(
            tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
        )
    else:
        tokenizer = tokenizer_class(vocab=vocabulary, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    tokenizer.chat_template = template
    return tokenizer


_MODELS: dict[str, Callable[[Path], None]] = {
    "FLUX.1-dev": lambda folder: save_random_flux(folder),
    "FLUX.1-schnell": lambda folder: save_random_flux(folder, TINY, guidance=False),
    "FLUX.1-Krea-dev": lambda folder: save_random_flux(folder),
    "FLUX.1-Kontext-dev": lambda folder: save_random_flux(folder, pipeline="FluxKontextPipeline"),
    "FLUX.2-dev": _save_flux_2,
    "FLUX.2-klein-4B": _save_flux_2_klein,
    "FLUX.2-klein-9B": _save_flux_2_klein,
    "Z-Image-Turbo": _save_z_image,
    "Krea-2-Turbo": _save_krea_2,
    "Qwen-Image": _save_qwen_image,
    "Qwen-Image-Edit": _save_qwen_image_edit,
    "Qwen-Image-Edit-2511": lambda folder: _save_qwen_image_edit(folder, QwenImageEditPlusPipeline),
    "stable-diffusion-xl-base-1.0": _save_sdxl,
}
