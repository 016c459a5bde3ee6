"""The provider `replicate`: draws with the models that Replicate hosts.

Each request becomes a picture or a `ProviderError`. `hosted.outcomes.TABLE` defines the error for every
failure. The API token goes only to Replicate's API.
"""

from avatar_creator_tasks.providers.hosted.limits import Limits
from avatar_creator_tasks.providers.replicate.access import Access
from avatar_creator_tasks.providers.replicate.provider import ReplicateProvider

__all__ = ["Access", "Limits", "ReplicateProvider"]
