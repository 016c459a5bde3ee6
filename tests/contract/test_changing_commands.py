"""Commands that change and delete avatars and projects, record uses, and describe the person in a picture."""

from __future__ import annotations

from pathlib import Path

from avatar_creator import AgeRange, AvatarCreator, Gender, HairColor, HairStyle
from tests import pictures
from tests.support.command_line import SMALL, CommandLine, printed
from tests.support.service import Deployment


def test_a_portrait_has_the_person_that_the_options_describe(
    command_line: CommandLine, shared_client: AvatarCreator
) -> None:
    project = shared_client.projects.create("Spring").id
    person = (
        "--gender",
        "FEMALE",
        "--age-range",
        "young-adult",
        "--hair-style",
        "long",
        "--ethnicity",
        "Sunda",
    )
    persona = ("--persona-name", "Ratna", "--persona-age", "29", "--persona-background", "A teacher.")
    traits = ("--persona-personality", "calm", "--persona-personality", "warm, and direct")

    created = command_line.json(
        "generate", "in a garden", "--project", project, *person, *persona, *traits, *SMALL
    )

    stored = shared_client.generations.get(created["id"])
    given = {name: value for name, value in stored.attributes.to_dict().items() if value}
    assert given == {
        **{"gender": Gender.FEMALE, "age_range": AgeRange.YOUNG_ADULT},
        **{"hair_style": HairStyle.LONG, "ethnicity": "Sunda"},
    }
    assert stored.persona.to_dict() == {
        **{"name": "Ratna", "age": 29, "background": "A teacher."},
        "personality": ["calm", "warm, and direct"],
    }
    wrong = command_line.run("generate", "x", "--project", project, "--headwear", "crown")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "must be one of hijab, headscarf, peci" in printed(wrong)


def test_an_avatar_is_changed_field_by_field(command_line: CommandLine, shared_client: AvatarCreator) -> None:
    project = shared_client.projects.create("Spring").id
    avatar = shared_client.avatars.upload(
        project,
        pictures.jpeg(),
        name="Sarah",
        persona={"name": "Sarah", "age": 30, "personality": ["calm"]},
        attributes={"gender": "female", "hair_color": "brown", "headwear": "cap"},
    )
    update = ("avatars", "update", avatar.id)

    changed = command_line.output(
        *update,
        *("--name", "Sarah Lee", "--hair-color", "black", "--persona-age", "31"),
        *("--clear", "headwear", "--clear", "persona-personality", "--expected-revision", "1"),
    )

    assert changed == f"Updated Sarah Lee ({avatar.id}), now revision 2.\n"
    stored = shared_client.avatars.get(avatar.id)
    assert (stored.name, stored.persona.name, stored.persona.age) == ("Sarah Lee", "Sarah", 31)
    assert stored.persona.personality == ()
    attributes = stored.attributes
    assert (attributes.gender, attributes.hair_color) == (Gender.FEMALE, HairColor.BLACK)
    assert attributes.headwear is None
    outdated = command_line.error(*update, "--name", "Other", "--expected-revision", "1")
    assert outdated.startswith("REVISION_MISMATCH: ")
    assert "at least one change" in command_line.error(*update)
    both = command_line.error(*update, "--persona-age", "31", "--clear", "persona-age")
    assert "persona.age is set and cleared" in both
    unknown = command_line.run(*update, "--clear", "shoe-size")
    assert "must be one of gender, age-range" in printed(unknown)


def test_a_deletion_asks_first_and_says_what_goes(
    command_line: CommandLine, shared_client: AvatarCreator
) -> None:
    project = shared_client.projects.create("Spring")
    avatars = [shared_client.avatars.upload(project, pictures.jpeg(), name=f"Sarah {n}") for n in range(3)]
    shared_client.usage.record(avatars[0], app_id="pose", action="pose")
    first = ("avatars", "delete", avatars[0].id)

    assert "confirm it with --yes" in command_line.error(*first)
    asked = command_line.terminal_output(*first, columns=200, prompt="[y/N]", typed="\n", status=1)
    assert f"Delete avatar Sarah 0 ({avatars[0].id}) with its picture, thumbnail and 1 recorded use?" in asked
    assert "error: nothing was deleted" in asked
    assert len(list(shared_client.avatars.list(project))) == 3
    asked = command_line.terminal_output(*first, columns=200, prompt="[y/N]", typed="y\n")
    assert f"Deleted avatar Sarah 0 ({avatars[0].id})." in asked
    assert command_line.json("avatars", "delete", avatars[1].id, "--yes")["name"] == "Sarah 1"
    whole = ("projects", "delete", project.id)
    asked = command_line.terminal_output(*whole, columns=200, prompt="[y/N]", typed="n\n", status=1)
    assert f"Delete project Spring ({project.id}) with its 1 avatar, their pictures, and all its" in asked
    assert command_line.output(*whole, "--yes") == f"Deleted project Spring ({project.id}).\n"
    assert list(shared_client.projects.list()) == []
    assert command_line.error(*whole, "--yes").startswith("RESOURCE_NOT_FOUND: ")


def test_a_project_is_changed(command_line: CommandLine, shared_client: AvatarCreator) -> None:
    project = shared_client.projects.create("Spring", "Faces")
    update = ("projects", "update", project.id)

    assert command_line.output(*update, "--name", "Summer").endswith("now revision 2.\n")
    assert command_line.json(*update, "--description", "")["description"] == ""

    stored = shared_client.projects.get(project)
    assert (stored.name, stored.description, stored.revision) == ("Summer", "", 3)
    assert "--name or --description" in command_line.error(*update)
    assert command_line.error(*update, "--name", "x", "--expected-revision", "2").startswith("REVISION_")


def test_a_use_is_recorded(
    command_line: CommandLine, shared_client: AvatarCreator, shared_deployment: Deployment, user: str
) -> None:
    project = shared_client.projects.create("Spring")
    avatar = shared_client.avatars.upload(project, pictures.jpeg(), name="Sarah")
    record = ("usage", "record", avatar.id, "--action", "pose")

    said = command_line.output(
        *record,
        *("--app", "pose-generator", "--app-name", "Poses", "--reference-id", "7", "--reference-type", "set"),
        *("--metadata", '{"poses": 3, "names": ["sit"]}'),
    )

    assert said == "Recorded pose by pose-generator: the avatar has 1 use.\n"
    [use] = shared_client.usage.list(avatar)
    assert (use.app_name, use.reference_id, use.reference_type) == ("Poses", "7", "set")
    assert dict(use.metadata) == {"poses": 3, "names": ["sit"]}
    assert "app_id" in command_line.error(*record)
    for metadata in ("[1]", "{", "3"):
        assert "must be a JSON object" in printed(command_line.run(*record, "--metadata", metadata))
    bound = CommandLine(
        command_line.target, shared_deployment.token(user, app_id="video"), command_line.directory
    )
    assert bound.json(*record)["usage"]["app_id"] == "video"


def test_an_operator_lists_what_all_users_have(
    command_line: CommandLine,
    shared_client: AvatarCreator,
    shared_deployment: Deployment,
    user: str,
    tmp_path: Path,
) -> None:
    project = shared_client.projects.create("Spring")
    avatar = shared_client.avatars.upload(project, pictures.jpeg(), name="Sarah")
    generation = shared_client.generations.create(project, "x", width=256, height=256)
    generation.wait()
    olga = CommandLine(shared_deployment.target, shared_deployment.token("olga", role="ops"), tmp_path)

    for listing, mine in (("projects", project.id), ("avatars", avatar.id), ("generations", generation.id)):
        assert mine in [each["id"] for each in olga.json(listing, "list", "--user", user)]
        [line] = [
            line
            for line in olga.run(listing, "list", "--user", "-", "--limit", "100").stdout.splitlines()
            if mine in line
        ]
        assert user in line
        assert mine not in olga.run(listing, "list").stdout
        assert user not in command_line.output(listing, "list")
        refused = command_line.error(listing, "list", "--user", "-")
        assert refused.startswith("ROLE_REQUIRED: only a token with role ops ")
        assert "avatar-creator token --user USER_ID --role ops" in refused
    assert olga.json("stats", "--user", user)["avatar_count"] == 2
    assert olga.json("stats")["avatar_count"] == 0
    assert "role ops" in command_line.error("top")
