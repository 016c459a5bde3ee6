"""The provider factory: creates the provider that the settings name."""

from __future__ import annotations

from datetime import timedelta

from avatar_creator_server.generations.route_factory import routes_of
from avatar_creator_server.images.decoding.decoders import Decoders
from avatar_creator_server.settings import Settings
from avatar_creator_tasks.providers.base import Provider
from avatar_creator_tasks.providers.sketch.provider import SketchProvider


def require_installed(settings: Settings) -> None:
    """Check that this machine has the libraries of the settings' provider.

    Raises:
        SettingsError: A library is not installed.
    """
    if settings.chosen_provider == "diffusers":
        from avatar_creator_tasks.providers.diffusers.provider import require_libraries

        require_libraries()


def make_provider(settings: Settings, decoders: Decoders) -> Provider:
    """Create the provider of a worker. A model is loaded with the first portrait, not here.

    Args:
        settings: The settings.
        decoders: Child processes that decode the pictures of a hosted provider.

    Raises:
        SettingsError: A library that the provider needs is not installed.
    """
    match settings.chosen_provider:
        case "huggingface":
            from avatar_creator_tasks.providers.huggingface import Access, HuggingFaceProvider

            return HuggingFaceProvider(
                Access(
                    api_key=settings.huggingface_api_key.get_secret_value(),
                    base_url=settings.huggingface_base_url,
                    endpoint_url=settings.huggingface_endpoint_url,
                    bill_to=settings.huggingface_bill_to,
                    deadline=timedelta(seconds=settings.provider_deadline_seconds),
                    object_lifetime=timedelta(seconds=settings.provider_object_seconds),
                    result_hosts=settings.provider_result_hosts,
                    result_private_hosts=settings.provider_result_private_hosts,
                ),
                decoders,
            )
        case "replicate":
            from avatar_creator_tasks.providers import replicate

            return replicate.ReplicateProvider(
                replicate.Access(
                    api_token=settings.replicate_api_token.get_secret_value(),
                    base_url=settings.replicate_base_url,
                    deadline=timedelta(seconds=settings.provider_deadline_seconds),
                    result_hosts=settings.provider_result_hosts,
                    result_private_hosts=settings.provider_result_private_hosts,
                ),
                decoders,
            )
        case "diffusers":
            from avatar_creator_tasks.providers.diffusers.provider import DiffusersProvider
            from avatar_creator_tasks.providers.diffusers.settings import ModelSettings

            return DiffusersProvider(
                ModelSettings(
                    model=settings.model,
                    model_revision=settings.model_revision,
                    lora=routes_of(settings).from_text.lora,
                    device=settings.model_device,
                    offload=settings.model_offload,
                    quantization=settings.model_quantization,
                    speed=settings.model_speed,
                )
            )
        case _:
            return SketchProvider()
