"""Picture moderation: a classifier checks each generated picture before the service stores it.

The operator chooses the classifier: a folder of weights, or a service. Pictures of the provider `sketch` are
not checked: a program draws them without a model, and classifiers are made for photographs.
"""

from __future__ import annotations

from avatar_creator_tasks.picture_moderation.factory import make_moderator, try_classifier
from avatar_creator_tasks.picture_moderation.moderator import CheckedPortrait, PictureModerator

__all__ = ["CheckedPortrait", "PictureModerator", "make_moderator", "try_classifier"]
