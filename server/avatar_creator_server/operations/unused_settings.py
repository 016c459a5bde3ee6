"""Settings that are set, but that the chosen provider does not read."""

from __future__ import annotations

from avatar_creator_server.settings import Settings

_LOCAL = ("model_revision", "model_device", "model_offload", "model_quantization", "model_speed")
_LORA = ("lora_repository", "lora_weight_file", "lora_revision", "lora_scale", "lora_trigger")
_PICTURES = ("picture_moderation", "picture_moderation_action", "picture_moderation_threshold")
_IGNORED = {
    "sketch": ("model", *_LOCAL, *_LORA, *_PICTURES),
    "huggingface": _LOCAL,
    "replicate": _LOCAL,
    "diffusers": (),
}
"""Settings by provider that it ignores. Keys and addresses of another provider are not here, because
`PROVIDER` chooses between several that are ready."""


def unused_settings(settings: Settings) -> list[str]:
    """Return the variables of the settings that differ from their defaults and have no effect."""
    fields = Settings.model_fields
    return [
        name.upper()
        for name in _IGNORED[settings.chosen_provider]
        if getattr(settings, name) != fields[name].get_default(call_default_factory=True)
    ]
