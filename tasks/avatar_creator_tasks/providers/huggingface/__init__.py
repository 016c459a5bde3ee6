"""The provider `huggingface`: draws with hosted models, through Hugging Face's router.

Each request to a route becomes a picture or a `ProviderError`. `outcomes.TABLE` defines the error for every
failure. The API key goes only to the router and to the dedicated endpoint.
"""

from avatar_creator_tasks.providers.hosted.limits import Limits
from avatar_creator_tasks.providers.huggingface.access import Access
from avatar_creator_tasks.providers.huggingface.provider import HuggingFaceProvider

__all__ = ["Access", "HuggingFaceProvider", "Limits"]
