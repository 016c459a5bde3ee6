"""A project with many avatars, written with SQL because uploads would take an hour."""

from __future__ import annotations

from tests.support.service import Deployment

_NUMBERS = {
    True: "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})",
    False: "WITH n(i) AS (SELECT generate_series(1, {count}))",
}
_FILES = """{numbers} INSERT INTO files
    (id, user_id, key, state, content_type, size_bytes, sha256, width, height, create_time)
    SELECT '{prefix}-{kind}-' || i, user_id,
        'avatar-creator/' || user_id || '/{prefix}-{kind}-' || i || '.png',
        'owned', 'image/png', 4, '', 1, 1, create_time
    FROM avatar_projects, n WHERE avatar_projects.id = %s"""
_AVATARS = """{numbers} INSERT INTO avatars
    (id, user_id, project_id, name, image_file_id, thumbnail_file_id, source_type, persona_name, persona_age,
     persona_personality, persona_background, gender, age_range, ethnicity, body_type, hair_style, hair_color,
     eye_color, skin_tone, style, headwear, generation_prompt, ethnicity_folded, search_text, usage_count,
     create_time, update_time)
    SELECT '{prefix}-' || i, user_id, id, 'Face ' || i, '{prefix}-image-' || i, '{prefix}-thumbnail-' || i,
        'uploaded', '', 0, '[]', '', '', '', '', '', '', '', '', '', '', '', '', '', 'face', 0,
        create_time, update_time
    FROM avatar_projects, n WHERE avatar_projects.id = %s"""
_COUNTS = (
    "UPDATE avatar_projects SET avatar_count = avatar_count + {count} WHERE id = %s",
    "INSERT INTO user_statistics SELECT user_id, {count}, 0, 0, 0, 0, 0, 0"
    " FROM avatar_projects WHERE id = %s",
    "INSERT INTO daily_uploads SELECT user_id, {day}, {count} FROM avatar_projects WHERE id = %s",
)


def fill_project(deployment: Deployment, project_id: str, count: int) -> None:
    """Add `count` avatars, each with two small files, to a project of a user without other resources."""
    (project,) = deployment.execute("SELECT user_id FROM avatar_projects WHERE id = %s", project_id)
    prefix = project_id[-12:]
    folder = deployment.upload_path / "avatar-creator" / project["user_id"]
    folder.mkdir(parents=True, exist_ok=True)
    numbers = _NUMBERS[deployment.is_embedded].format(count=count)
    for kind in ("image", "thumbnail"):
        for number in range(1, count + 1):
            (folder / f"{prefix}-{kind}-{number}.png").write_bytes(b"face")
        deployment.execute(_FILES.format(numbers=numbers, prefix=prefix, kind=kind), project_id)
    day = "substr(create_time, 1, 10)" if deployment.is_embedded else "(create_time AT TIME ZONE 'UTC')::date"
    for statement in (_AVATARS, *_COUNTS):
        deployment.execute(statement.format(numbers=numbers, prefix=prefix, count=count, day=day), project_id)
