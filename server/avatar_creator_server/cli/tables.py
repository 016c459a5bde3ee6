"""The client's values as tables.

Ids are complete, because people copy them. Text that users wrote is shortened if the terminal is too narrow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from avatar_creator import (
    AppUsageSummary,
    Attributes,
    Avatar,
    DailySpend,
    Estimate,
    Generation,
    GenerationAttempt,
    GenerationState,
    Persona,
    PersonaExample,
    Preset,
    Project,
    Queue,
    Recipe,
    Stats,
    UsageRecord,
    UserActivity,
    UserLimits,
    Worker,
)
from avatar_creator_server.cli.format import (
    age,
    dimensions,
    dollars,
    label,
    local_time,
    moderation_label,
    printable,
)
from avatar_creator_server.cli.service_screen import running_work

_ID_WIDTH = 36
_MIN_NAME_WIDTH = 12
_MIN_SHORT_WIDTH = 8
_WIDE = 110
"""Columns in which a generation has room for all its facts."""


def projects(listed: Sequence[Project], *, with_users: bool = False) -> Table:
    """Return a table with one line for each project; with users, for lists of other people's."""
    now = datetime.now(UTC)
    table = _table(
        _id_column(),
        *([_user_column()] if with_users else []),
        _name_column(),
        _number_column("avatars"),
        _number_column("age") if with_users else _text_column("created"),
    )
    for project in listed:
        table.add_row(
            printable(project.id),
            *([_shortened(project.user_id)] if with_users else []),
            _shortened(project.name),
            str(project.avatar_count),
            age(project.create_time, now) if with_users else local_time(project.create_time),
        )
    return table


def avatars(listed: Sequence[Avatar], *, with_users: bool = False) -> Table:
    """Return a table with one line for each avatar. Flagged pictures have a column of their own.

    Lists of other people's avatars have the users in place of the sources.
    """
    now = datetime.now(UTC)
    verdicts = [moderation_label(avatar) for avatar in listed]
    table = _table(
        _id_column(),
        *([_user_column()] if with_users else []),
        _name_column(),
        *([] if with_users else [_text_column("source")]),
        _number_column("uses"),
        _number_column("age") if with_users else _text_column("created"),
    )
    if any(verdicts):
        table.add_column("moderation", no_wrap=True)
    for avatar, verdict in zip(listed, verdicts, strict=True):
        table.add_row(
            printable(avatar.id),
            *([_shortened(avatar.user_id)] if with_users else []),
            _shortened(avatar.name),
            *([] if with_users else [label(avatar.source_type)]),
            str(avatar.usage_count),
            age(avatar.create_time, now) if with_users else local_time(avatar.create_time),
            *([verdict] if any(verdicts) else []),
        )
    return table


def avatar(shown: Avatar) -> Table:
    """Return everything about an avatar, one fact on each line."""
    image = shown.image
    return _fact_sheet(
        ("id", shown.id),
        ("name", shown.name),
        ("project", shown.project_id),
        ("source", label(shown.source_type)),
        ("picture", f"{image.content_type}, {dimensions(image)}, {image.size_bytes:,} bytes"),
        ("thumbnail", "pending" if shown.thumbnail_pending else dimensions(shown.thumbnail)),
        ("moderation", moderation_label(shown, passed="passed")),
        *_persona(shown.persona),
        *_attributes(shown.attributes),
        ("prompt", shown.generation_prompt),
        ("seed", _number(shown.seed_used)),
        ("generation", shown.generation_id),
        *_numbered("reference", "", shown.reference_avatar_ids),
        ("uses", str(shown.usage_count)),
        ("last used", local_time(shown.last_used_time)),
        ("created", local_time(shown.create_time)),
        ("changed", local_time(shown.update_time)),
        ("picture link", shown.image_url),
        ("thumbnail link", shown.thumbnail_url),
    )


def generations(listed: Sequence[Generation], *, with_users: bool, columns: int) -> Table:
    """Return a table with one line for each generation.

    Args:
        listed: The generations.
        with_users: True for lists of other people's generations.
        columns: Width of the output, which decides whether the names of the avatars fit.
    """
    now = datetime.now(UTC)
    reasons = any(generation.error for generation in listed)
    names = columns >= _WIDE or not (reasons or with_users)
    # In a narrow terminal only users, reasons and names shrink; a long reason then takes several lines.
    table = _table(
        _id_column(),
        _text_column("state"),
        _number_column("age"),
        *([_user_column()] if with_users else []),
        *([Column("reason", min_width=_MIN_SHORT_WIDTH)] if reasons else []),
        *([Column("name", min_width=_MIN_SHORT_WIDTH)] if names else []),
    )
    for each in listed:
        reason = Text(printable(each.error.reason if each.error else ""), overflow="fold")
        table.add_row(
            printable(each.id),
            label(each.state if each.ended else each.stage),
            age(each.create_time, now),
            *([_shortened(each.user_id)] if with_users else []),
            *([reason] if reasons else []),
            *([_shortened(each.avatar_name)] if names else []),
        )
    return table


def generation(shown: Generation) -> Table:
    """Return everything about a generation, one fact on each line."""
    options = shown.options
    failure = f"{shown.error.reason}: {shown.error.explanation}" if shown.error else ""
    return _fact_sheet(
        ("id", shown.id),
        ("user", shown.user_id),
        ("project", shown.project_id),
        ("state", label(shown.state)),
        ("stage", "" if shown.ended else label(shown.stage)),
        ("progress", f"{shown.progress_percent} %" if shown.state == GenerationState.PROCESSING else ""),
        ("priority", label(shown.priority)),
        ("attempt", str(shown.attempt_number or "")),
        ("next attempt", local_time(shown.next_attempt_time)),
        ("failure", failure),
        ("ahead in the queue", _number(shown.queue_position)),
        ("expected in", "" if shown.expected_seconds is None else f"about {shown.expected_seconds} s"),
        ("avatar", shown.avatar_id),
        ("avatar's name", shown.avatar_name),
        *_persona(shown.persona),
        *_attributes(shown.attributes),
        ("prompt", shown.prompt),
        ("enhanced prompt", shown.enhanced_prompt),
        ("negative prompt", shown.negative_prompt),
        ("size", f"{options.width or 1024}x{options.height or 1024}"),
        ("seed", str(shown.seed_used)),
        ("provider", shown.provider),
        ("preset", shown.preset_id),
        ("persona example", shown.persona_example_id),
        *_numbered("reference", "", shown.reference_avatar_ids),
        ("variations", shown.group_id),
        ("retry of", shown.retry_of),
        ("reproduction of", shown.reproduce_of),
        ("app", shown.app_id),
        ("moderation", moderation_label(shown, passed="passed")),
        ("price", dollars(shown.price_micros) if shown.price_micros else ""),
        *_numbered("warning", "", shown.warnings),
        ("created", local_time(shown.create_time)),
        ("started", local_time(shown.start_time)),
        ("changed", local_time(shown.update_time)),
        ("ended", local_time(shown.end_time)),
    )


def attempts(listed: Sequence[GenerationAttempt]) -> Table:
    """Return a table with one line for each attempt of a worker."""
    table = _table(
        _number_column("attempt"),
        _text_column("outcome"),
        _text_column("began"),
        _number_column("took"),
        _text_column("route"),
        _number_column("price"),
        "worker",
        "failure",
    )
    for attempt in listed:
        failure = f"{attempt.error.reason}: {attempt.error.explanation}" if attempt.error else ""
        took = (attempt.end_time or datetime.now(UTC)) - attempt.start_time
        table.add_row(
            str(attempt.attempt_number),
            label(attempt.outcome),
            local_time(attempt.start_time),
            f"{took.total_seconds():.1f} s",
            printable(attempt.route),
            dollars(attempt.price_micros) if attempt.possibly_charged else "",
            Text(printable(attempt.worker), overflow="fold"),
            Text(printable(failure), overflow="fold"),
        )
    return table


def estimate(estimated: Estimate) -> Table:
    """Return the estimated price and times of a generation, one fact on each line."""
    duration = "not known yet"
    if estimated.seconds_p50 is not None and estimated.seconds_p90 is not None:
        duration = f"50 % within {estimated.seconds_p50:.1f} s, 90 % within {estimated.seconds_p90:.1f} s"
    completion = ""
    if estimated.expected_seconds is not None:
        completion = f"in about {estimated.expected_seconds} s"
    return _fact_sheet(
        ("price", dollars(estimated.price_micros)),
        ("provider", estimated.provider),
        ("route", estimated.route),
        ("time for one", duration),
        ("all completed", completion),
    )


def recipe(shown: Recipe) -> Table:
    """Return how a picture was made, one fact on each line."""
    return _fact_sheet(
        ("provider", shown.provider),
        ("route", shown.route),
        ("model", shown.model),
        ("model revision", shown.model_revision),
        ("LoRA", shown.lora),
        ("LoRA file", shown.lora_weight_file),
        ("LoRA revision", shown.lora_revision),
        ("LoRA scale", _number(shown.lora_scale)),
        ("seed", str(shown.seed)),
        ("size", f"{shown.width}x{shown.height}"),
        ("steps", _number(shown.steps)),
        ("guidance", _number(shown.guidance_scale)),
        ("prompt", shown.enhanced_prompt),
        ("prompt sent", shown.provider_prompt if shown.provider_prompt != shown.enhanced_prompt else ""),
        ("negative prompt", shown.negative_prompt),
        *_numbered("reference", "", shown.reference_avatar_ids),
        *_numbered("reference", " SHA-256", shown.reference_sha256s),
        ("strength", _number(shown.reference_strength)),
        ("speed", shown.speed if shown.speed != "exact" else ""),
        *((_provider_fact(name), fact) for name, fact in sorted(shown.provider_facts.items())),
        ("picture classifier", shown.picture_classifier),
        ("picture score", f"{shown.picture_score:.4f}" if shown.picture_classifier else ""),
        ("picture blurred", "yes" if shown.blurred else ""),
        ("pixels SHA-256", shown.pixels_sha256),
        ("software", shown.software),
    )


def usage_by_app(apps: Sequence[AppUsageSummary]) -> Table:
    """Return how often each app used an avatar, one app on each line."""
    table = _table(
        "app", _number_column("uses"), _text_column("first used"), _text_column("last used"), "actions"
    )
    for app in apps:
        table.add_row(
            _shortened(app.app_id),
            str(app.usage_count),
            local_time(app.first_used_time),
            local_time(app.last_used_time),
            _shortened(", ".join(f"{count.action} {count.usage_count}" for count in app.actions)),
        )
    return table


def usage_history(records: Sequence[UsageRecord]) -> Table:
    """Return a table with one line for each use."""
    table = _table(_text_column("used"), "app", "action", "reference")
    for use in records:
        table.add_row(
            local_time(use.create_time),
            _shortened(use.app_id),
            _shortened(use.action),
            _shortened(" ".join(filter(None, (use.reference_type, use.reference_id)))),
        )
    return table


def totals(stats: Stats) -> Table:
    """Return a user's totals, one on each line."""
    counts = {
        "avatars": str(stats.avatar_count),
        "uploads in the last 7 days": str(stats.recent_upload_count),
        "uses": str(stats.usage_count),
        "uses per avatar": f"{stats.average_usage_per_avatar:.2f}",
        "spent in the last 30 days": dollars(sum(spend.price_micros for spend in stats.spending)),
        **{f"generations {label(count.state)}": str(count.generation_count) for count in stats.generations},
    }
    table = _table(Column(), _number_column(""))
    table.show_header = False
    for name, count in counts.items():
        table.add_row(name, count)
    return table


def spending(days: Sequence[DailySpend]) -> Table:
    """Return what generations cost, with one line for each day and app."""
    table = _table(_text_column("day"), "app", _number_column("attempts"), _number_column("price"))
    for spend in days:
        table.add_row(
            str(spend.day),
            _shortened(spend.app_id or "no app"),
            str(spend.attempt_count),
            dollars(spend.price_micros),
        )
    return table


def presets(listed: Sequence[Preset]) -> Table:
    """Return a table with one line for each preset."""
    table = _table(_id_column(), _name_column(), _text_column("category"), _number_column("used"))
    for preset in listed:
        table.add_row(
            printable(preset.id),
            _shortened(preset.name),
            _shortened(preset.category),
            str(preset.usage_count),
        )
    return table


def personas(listed: Sequence[PersonaExample]) -> Table:
    """Return a table with one line for each persona example."""
    table = _table(_id_column(), _name_column(), _text_column("category"), _number_column("used"), "persona")
    for example in listed:
        table.add_row(
            printable(example.id),
            _shortened(example.name),
            _shortened(example.category),
            str(example.usage_count),
            _shortened(f"{example.persona.name}, {example.persona.age}"),
        )
    return table


def workers(listed: Sequence[Worker]) -> Group:
    """Return a table with one line for each worker, and then what each of them runs."""
    now = datetime.now(UTC)
    table = _table(
        Column("worker", min_width=_MIN_NAME_WIDTH),
        _text_column("state"),
        _number_column("slots"),
        _text_column("provider"),
        _text_column("version"),
        _number_column("up"),
        _number_column("seen"),
        _number_column("drained"),
    )
    for worker in listed:
        table.add_row(
            Text(printable(worker.name), overflow="fold"),
            label(worker.state),
            str(worker.slots),
            printable(worker.provider),
            printable(worker.version),
            age(worker.start_time, now),
            age(worker.last_seen_time, now),
            age(worker.drain_time, now),
        )
    running = [part for worker in listed if worker.running for part in running_work(worker, now)]
    return Group(table, *(["", *running] if running else []))


def queue(shown: Queue) -> Group:
    """Return the numbers of the queue, its routes, its pauses and the latest failures."""
    depths = _table(
        "priority", _number_column("due"), _number_column("waiting to retry"), _text_column("due since")
    )
    for depth in shown.depths:
        depths.add_row(
            label(depth.priority),
            f"{depth.due_count:,}",
            f"{depth.waiting_to_retry_count:,}",
            local_time(depth.oldest_due_time),
        )
    facts = [("running", f"{shown.running_count:,}"), ("worker lost", f"{shown.abandoned_count:,}")]
    for route in shown.routes:
        facts.append((f"route {route.name}", " ".join(filter(None, (route.provider, route.model)))))
    for pause in shown.pauses:
        note = f": {pause.note}" if pause.note else ""
        subject = f"route {pause.route}" if pause.route else "the whole queue"
        facts.append(
            ("paused", f"{subject}, since {local_time(pause.pause_time)} by {pause.paused_by}{note}")
        )
    for failure in shown.recent_failures:
        facts.append(("failed in the last hour", f"{failure.generation_count:,} {failure.reason}"))
    return Group(depths, "", _fact_sheet(*facts))


def users(listed: Sequence[UserActivity]) -> Table:
    """Return a table with one line for each user."""
    table = _table(
        _text_column("user"),
        _number_column("due"),
        _number_column("pending"),
        _number_column("processing"),
        _number_column("failed"),
        _number_column("spent"),
    )
    for user in listed:
        table.add_row(
            printable(user.user_id),
            f"{user.due_count:,}",
            f"{user.pending_count:,}",
            f"{user.processing_count:,}",
            f"{user.failed_count:,}",
            dollars(user.price_micros),
        )
    return table


def limits(shown: UserLimits) -> RenderableType:
    """Return the limits of a user, one on each line, with what the user has used of them."""
    table = _table("limit", _number_column("most"), _number_column("used"), "set by")
    for name, show in _LIMITS.items():
        most, used, own = (getattr(each, name) for each in (shown.effective, shown.used, shown.own))
        table.add_row(
            name.removesuffix("_micros").replace("_", " "),
            show(most) if most else "no limit",
            show(used),
            "the settings" if own is None else printable(shown.updated_by or ""),
        )
    return table


def generation_ids(listed: Sequence[str], results: Sequence[str] = ()) -> Table:
    """Return ids of generations, with the ids of their retries if there are any."""
    table = _table(_id_column(), *([_text_column("retry")] if results else []))
    for number, each in enumerate(listed):
        table.add_row(printable(each), *([printable(results[number])] if results else []))
    return table


def generation_states(listed: Sequence[Generation]) -> Table:
    """Return a table with the id and the state of each generation."""
    table = _table(_id_column(), "state", "stage", _text_column("retry of"))
    for generation in listed:
        table.add_row(
            printable(generation.id),
            label(generation.state),
            label(generation.stage),
            printable(generation.retry_of or ""),
        )
    return table


def _count(number: int) -> str:
    return f"{number:,}"


_LIMITS = {
    "concurrent": _count,
    "per_minute": _count,
    "per_day": _count,
    "spend_per_day_micros": dollars,
}
"""The text of each field of `GenerationLimits`."""


def _provider_fact(name: str) -> str:
    return "seed reported by the provider" if name == "seed" else printable(name.replace("_", " "))


def _persona(persona: Persona) -> Iterable[tuple[str, str | None]]:
    yield "persona", persona.name
    yield "age", _number(persona.age)
    yield "personality", ", ".join(persona.personality)


def _attributes(attributes: Attributes) -> Iterable[tuple[str, str]]:
    for name, value in attributes.to_dict().items():
        if value is not None:
            yield name.replace("_", " "), value if name == "ethnicity" else value.replace("_", " ")


def _numbered(name: str, suffix: str, values: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield a fact for each value; the names have numbers if there are several values."""
    for number, value in enumerate(values, 1):
        yield f"{name} {number}{suffix}" if len(values) > 1 else f"{name}{suffix}", value


def _number(number: float | None) -> str:
    return "" if number is None else f"{number:.10g}"


def _table(*columns: Column | str) -> Table:
    return Table(*columns, box=None, padding=(0, 2, 0, 0), pad_edge=False)


def _fact_sheet(*facts: tuple[str, str | None]) -> Table:
    """Return names and values without a header; facts with an empty value are left out."""
    sheet = Table.grid(_text_column(""), "", padding=(0, 2, 0, 0))
    for name, fact in facts:
        if fact:
            # Folded, so that a hash or an id is complete in a narrow terminal too.
            sheet.add_row(name, Text(printable(fact), overflow="fold"))
    return sheet


def _id_column() -> Column:
    return Column("id", no_wrap=True, min_width=_ID_WIDTH)


def _name_column() -> Column:
    # In a narrow terminal only this column shrinks. Without a minimum it would disappear.
    return Column("name", min_width=_MIN_NAME_WIDTH)


def _user_column() -> Column:
    return Column("user", min_width=_MIN_SHORT_WIDTH)


def _text_column(name: str) -> Column:
    return Column(name, no_wrap=True)


def _number_column(name: str) -> Column:
    # Rich shrinks a column without a minimum to nothing before it cuts the text of the others.
    return Column(name, no_wrap=True, justify="right", min_width=len(name))


def _shortened(text: str) -> Text:
    """Return text that a user wrote, on one line that is shortened to the width of its column."""
    return Text(printable(text), no_wrap=True, overflow="ellipsis")
