"""The record of an avatar, and the filters of a list."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from avatar_creator_server.images.records import PictureModeration, StoredFile
from avatar_creator_server.people.person import Attributes, Persona


@dataclass(frozen=True, slots=True)
class Avatar:
    """A person that apps can show: a picture, its thumbnail, a persona and attributes."""

    id: str
    user_id: str
    project_id: str
    name: str
    image: StoredFile
    thumbnail: StoredFile | None
    """File of the thumbnail; None until a worker has made it."""
    source_type: str
    persona: Persona
    attributes: Attributes
    generation_prompt: str
    seed_used: int | None
    generation_id: str
    reference_avatar_ids: tuple[str, ...]
    """Ids of the avatars from whose pictures this one was made."""
    picture_moderation: PictureModeration | None
    """Verdict about the generated picture; None if no classifier has checked it."""
    usage_count: int
    last_used_time: datetime | None
    create_time: datetime
    update_time: datetime
    revision: int


@dataclass(frozen=True, slots=True)
class Picture:
    """One of the pictures of an avatar, to send to someone who has its link."""

    user_id: str
    """Owner of the avatar."""
    avatar_name: str
    file: StoredFile


@dataclass(frozen=True, slots=True)
class AvatarFilter:
    """Filters and sort order of a list of avatars. An empty field does not filter."""

    project_id: str = ""
    source_types: tuple[str, ...] = ()
    gender: str = ""
    age_range: str = ""
    ethnicity: str = ""
    style: str = ""
    query: str = ""
    """Words that must all be in the name, the persona's name or the prompt."""
    last_used_first: bool = False
