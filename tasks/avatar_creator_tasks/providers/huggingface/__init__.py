"""The provider `huggingface`: models that others run, reached through Hugging Face's router.

One request to one of its routes becomes a picture or a `ProviderError`, and `outcomes.TABLE` says which for
everything that can happen on the way. The key goes to the router and to the endpoint alone.
"""

from avatar_creator_tasks.providers.huggingface.access import Access
from avatar_creator_tasks.providers.huggingface.limits import Limits
from avatar_creator_tasks.providers.huggingface.provider import HuggingFaceProvider

__all__ = ["Access", "HuggingFaceProvider", "Limits"]
