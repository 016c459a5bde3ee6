"""The tables of started generations and of spending."""

from __future__ import annotations

from peewee import BigIntegerField, CompositeKey, TextField

from avatar_creator_server.database.models.base import BaseModel, UtcDateTimeField


class GenerationStart(BaseModel):
    """A generation that counts for its user's limits of the last 24 hours, even if it has been deleted."""

    generation_id = TextField(primary_key=True)
    user_id = TextField()
    price_micros = BigIntegerField()
    """Price in millionths of a US dollar: the reserved price of one attempt until the generation ends, and
    then the real price."""
    create_time = UtcDateTimeField()

    class Meta:
        table_name = "generation_starts"


# All that the limits need, so that their sums do not read the table.
GenerationStart.add_index(
    GenerationStart.index(
        GenerationStart.user_id,
        GenerationStart.create_time,
        GenerationStart.price_micros,
        name="generation_starts_user_price",
    )
)


class DailySpend(BaseModel):
    """Price of the attempts of one user's generations for one app on one day."""

    user_id = TextField()
    day = TextField()
    """Date in UTC, `2026-01-31`."""
    app_id = TextField()
    """Empty for tokens that name no app."""
    price_micros = BigIntegerField(default=0)
    attempt_count = BigIntegerField(default=0)

    class Meta:
        table_name = "daily_spend"
        primary_key = CompositeKey("user_id", "day", "app_id")


# All that the sums of all users need, so that they do not read the table.
DailySpend.add_index(
    DailySpend.index(
        DailySpend.day,
        DailySpend.app_id,
        DailySpend.price_micros,
        DailySpend.attempt_count,
        name="daily_spend_day",
    )
)
# The users who spent most.
DailySpend.add_index(
    DailySpend.index(DailySpend.day, DailySpend.user_id, DailySpend.price_micros, name="daily_spend_day_user")
)
