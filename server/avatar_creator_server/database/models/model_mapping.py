"""The table of the apps that providers offer."""

from __future__ import annotations

from peewee import JSONField, TextField

from avatar_creator_server.database.models.base import BaseModel, UtcDateTimeField


class ModelMapping(BaseModel):
    """The apps of one provider that Hugging Face's router offers, as its hub last listed them."""

    provider = TextField(primary_key=True)
    """Name of the provider at the router, for example `fal-ai`."""
    hub_url = TextField()
    """Address of the hub. The list counts only for processes that ask the same hub."""
    apps = JSONField()
    """List of the provider's names of its apps, sorted."""
    read_time = UtcDateTimeField()
    """Time at which a process last read the list from the hub."""

    class Meta:
        table_name = "model_mappings"
