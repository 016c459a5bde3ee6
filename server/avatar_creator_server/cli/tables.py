"""What the service's messages look like as tables.

Ids are complete, because people copy them; what users wrote is cut where a terminal has no room for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Column, Table
from rich.text import Text

from avatar_creator import (
    AppUsageSummary,
    Attributes,
    Avatar,
    AvatarPreset,
    AvatarProject,
    DailySpend,
    EstimateGenerationResponse,
    GetStatsResponse,
    Persona,
    PersonaExample,
    Recipe,
    UsageRecord,
)
from avatar_creator_server.cli.format import dollars, label, plain, size, when

_ID_WIDTH = 36
_LEAST_NAME_WIDTH = 12


def projects(listed: Sequence[AvatarProject]) -> Table:
    """Projects, one a line."""
    table = _table(_id(), _name(), _number("avatars"), _fixed("created"))
    for project in listed:
        table.add_row(
            plain(project.id), _cut(project.name), str(project.avatar_count), when(project, "create_time")
        )
    return table


def avatars(listed: Sequence[Avatar]) -> Table:
    """Avatars, one a line."""
    table = _table(_id(), _name(), _fixed("source"), _number("uses"), _fixed("created"))
    for avatar in listed:
        table.add_row(
            plain(avatar.id),
            _cut(avatar.name),
            label(avatar, "source_type"),
            str(avatar.usage_count),
            when(avatar, "create_time"),
        )
    return table


def avatar(shown: Avatar) -> Table:
    """All that is known of an avatar, a fact a line."""
    image = shown.image
    return _sheet(
        ("id", shown.id),
        ("name", shown.name),
        ("project", shown.project_id),
        ("source", label(shown, "source_type")),
        ("picture", f"{image.content_type}, {size(image)}, {image.size_bytes:,} bytes"),
        ("thumbnail", "pending" if shown.thumbnail_pending else size(shown.thumbnail)),
        *_persona(shown.persona),
        *_attributes(shown.attributes),
        ("prompt", shown.generation_prompt),
        ("seed", str(shown.seed_used) if shown.HasField("seed_used") else ""),
        ("generation", shown.generation_id),
        ("reference", shown.reference_avatar_id),
        ("uses", str(shown.usage_count)),
        ("last used", when(shown, "last_used_time")),
        ("created", when(shown, "create_time")),
        ("changed", when(shown, "update_time")),
    )


def estimate(estimated: EstimateGenerationResponse) -> Table:
    """What a generation would cost and take, a fact a line."""
    pace = "not known yet"
    if estimated.HasField("seconds_p50"):
        pace = f"half within {estimated.seconds_p50:.1f} s, nine in ten within {estimated.seconds_p90:.1f} s"
    outlook = ""
    if estimated.HasField("expected_seconds"):
        outlook = f"in about {estimated.expected_seconds} s"
    return _sheet(
        ("price", dollars(estimated.price_micros)),
        ("provider", estimated.provider),
        ("route", estimated.route),
        ("one takes", pace),
        ("all would end", outlook),
    )


def recipe(made_by: Recipe) -> Table:
    """What made a picture, a fact a line."""
    return _sheet(
        ("provider", made_by.provider),
        ("route", made_by.route),
        ("model", made_by.model),
        ("model revision", made_by.model_revision),
        ("LoRA", made_by.lora),
        ("LoRA file", made_by.lora_weight_file),
        ("LoRA revision", made_by.lora_revision),
        ("LoRA scale", _number_given(made_by.lora_scale)),
        ("seed", str(made_by.seed)),
        ("size", f"{made_by.width}x{made_by.height}"),
        ("steps", _number_given(made_by.steps)),
        ("guidance", _number_given(made_by.guidance_scale)),
        ("prompt", made_by.enhanced_prompt),
        ("sent as", made_by.provider_prompt if made_by.provider_prompt != made_by.enhanced_prompt else ""),
        ("negative prompt", made_by.negative_prompt),
        ("reference", made_by.reference_avatar_id),
        ("reference SHA-256", made_by.reference_sha256),
        ("strength", _number_given(made_by.reference_strength)),
        *((plain(name.replace("_", " ")), fact) for name, fact in sorted(made_by.provider_facts.items())),
        ("pixels SHA-256", made_by.pixels_sha256),
        ("software", made_by.software),
    )


def usage_by_app(apps: Sequence[AppUsageSummary]) -> Table:
    """An avatar's uses, an app a line."""
    table = _table("app", _number("uses"), _fixed("first used"), _fixed("last used"), "actions")
    for app in apps:
        table.add_row(
            _cut(app.app_id),
            str(app.usage_count),
            when(app, "first_used_time"),
            when(app, "last_used_time"),
            _cut(", ".join(f"{count.action} {count.usage_count}" for count in app.actions)),
        )
    return table


def uses(history: Sequence[UsageRecord]) -> Table:
    """Single uses, one a line."""
    table = _table(_fixed("used"), "app", "action", "reference")
    for use in history:
        table.add_row(
            when(use, "create_time"),
            _cut(use.app_id),
            _cut(use.action),
            _cut(f"{use.reference_type} {use.reference_id}"),
        )
    return table


def stats(figures: GetStatsResponse) -> Table:
    """A user's figures, one a line."""
    counts = {
        "avatars": str(figures.avatar_count),
        "uploads in the last 7 days": str(figures.recent_upload_count),
        "uses": str(figures.usage_count),
        "uses per avatar": f"{figures.average_usage_per_avatar:.2f}",
        "spent in the last 30 days": dollars(sum(spend.price_micros for spend in figures.spending)),
        **{
            f"generations {label(count, 'state')}": str(count.generation_count)
            for count in figures.generations
        },
    }
    table = _table(Column(), _number(""))
    table.show_header = False
    for name, count in counts.items():
        table.add_row(name, count)
    return table


def spending(days: Sequence[DailySpend]) -> Table:
    """What generations cost, a day and app a line."""
    table = _table(_fixed("day"), "app", _number("attempts"), _number("price"))
    for spend in days:
        table.add_row(
            plain(spend.day),
            _cut(spend.app_id or "no app"),
            str(spend.attempt_count),
            dollars(spend.price_micros),
        )
    return table


def presets(listed: Sequence[AvatarPreset]) -> Table:
    """Presets, one a line."""
    table = _table(_id(), _name(), _fixed("category"), _number("used"))
    for preset in listed:
        table.add_row(plain(preset.id), _cut(preset.name), _cut(preset.category), str(preset.popularity))
    return table


def personas(listed: Sequence[PersonaExample]) -> Table:
    """Persona examples, one a line."""
    table = _table(_id(), _name(), _fixed("category"), _number("used"), "persona")
    for example in listed:
        table.add_row(
            plain(example.id),
            _cut(example.name),
            _cut(example.category),
            str(example.use_count),
            _cut(f"{example.persona.name}, {example.persona.age}"),
        )
    return table


def _persona(persona: Persona) -> Iterable[tuple[str, str]]:
    yield "persona", persona.name
    yield "age", str(persona.age or "")
    yield "personality", ", ".join(persona.personality)


def _attributes(attributes: Attributes) -> Iterable[tuple[str, str]]:
    for field, value in attributes.ListFields():
        yield (
            field.name.replace("_", " "),
            label(attributes, field.name) if field.enum_type is not None else str(value),
        )


def _number_given(number: float) -> str:
    return f"{number:g}" if number else ""


def _table(*columns: Column | str) -> Table:
    return Table(*columns, box=None, padding=(0, 2, 0, 0), pad_edge=False)


def _sheet(*facts: tuple[str, str]) -> Table:
    """Facts with their names; those that are empty are left out."""
    sheet = Table.grid(_fixed(""), "", padding=(0, 2, 0, 0))
    for name, fact in facts:
        if fact:
            sheet.add_row(name, Text(plain(fact)))
    return sheet


def _id() -> Column:
    return Column("id", no_wrap=True, min_width=_ID_WIDTH)


def _name() -> Column:
    # In a narrow terminal it would be the only one to shrink, down to nothing.
    return Column("name", no_wrap=True, min_width=_LEAST_NAME_WIDTH)


def _fixed(name: str) -> Column:
    return Column(name, no_wrap=True)


def _number(name: str) -> Column:
    return Column(name, no_wrap=True, justify="right")


def _cut(text: str) -> Text:
    """What somebody wrote, on one line that ends where its column does."""
    return Text(plain(text), no_wrap=True, overflow="ellipsis")
