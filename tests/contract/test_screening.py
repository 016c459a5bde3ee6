"""Words that are refused before anything is queued, by the deny-list and by a moderation service."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from avatar_creator import (
    Attributes,
    AvatarCreator,
    InvalidArgumentError,
    Persona,
    UnavailableError,
)
from tests.support.generations import SMALLEST
from tests.support.moderation_service import FLAGGED_CATEGORIES, Mode, ModerationServiceFake
from tests.support.service import Deployment

SMALL: dict[str, Any] = {"width": SMALLEST, "height": SMALLEST}
KEY = "sk-canary-9c1e"
ONE_ATTEMPT_SECONDS = 4.5
"""Long enough for the service to give up the moderation service, and too short to be sent again then."""

WORD = "florb"
DENIED_FIELDS: dict[str, dict[str, Any]] = {
    "prompt": {"prompt": f"a {WORD} in the sun"},
    "avatar_name": {"avatar_name": WORD.upper()},
    "persona.name": {"persona": Persona(name=f"Ann {WORD}")},
    "persona.personality[1]": {"persona": Persona(personality=["warm", f"{WORD}-like"])},
    "persona.background": {"persona": Persona(background="Born.\nGrew up in f\u200bl\u200bo\u200br\u200bb.")},
    "attributes.ethnicity": {"attributes": Attributes(ethnicity="ｆｌｏｒｂ")},
}


@pytest.fixture(scope="module")
def moderation_process() -> Iterator[ModerationServiceFake]:
    with ModerationServiceFake() as running:
        yield running


@pytest.fixture
def moderation(moderation_process: ModerationServiceFake) -> ModerationServiceFake:
    moderation_process.mode = "clean"
    moderation_process.requests.clear()
    return moderation_process


@pytest.fixture(scope="module")
def screened(
    moderation_process: ModerationServiceFake, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    directory = tmp_path_factory.mktemp("screened")
    deny_list = directory / "denied.txt"
    deny_list.write_text(f"# Made up\n{WORD}\n")
    deployment = Deployment.embedded(
        directory,
        PROMPT_DENY_LIST_FILE=str(deny_list),
        MODERATION_URL=moderation_process.url,
        MODERATION_API_KEY=KEY,
    )
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.close()


@pytest.fixture
def avatars(screened: Deployment, moderation: ModerationServiceFake, user: str) -> Iterator[AvatarCreator]:
    with screened.client(user) as connected:
        yield connected


@pytest.fixture
def project_id(avatars: AvatarCreator) -> str:
    return avatars.projects.create("Screened").id


@pytest.fixture
def rows_before(screened: Deployment, project_id: str) -> int:
    return len(screened.rows("avatar_generations"))


@pytest.mark.parametrize("field", DENIED_FIELDS)
def test_a_denied_word_is_refused_in_every_field_and_nothing_is_created(
    screened: Deployment,
    moderation: ModerationServiceFake,
    avatars: AvatarCreator,
    project_id: str,
    rows_before: int,
    field: str,
) -> None:
    wishes = {"prompt": "a woman", **DENIED_FIELDS[field]}

    with pytest.raises(InvalidArgumentError) as refusal:
        avatars.generations.create(project_id, **wishes)

    assert refusal.value.reason == "PROMPT_REFUSED"
    assert refusal.value.metadata == {"source": "deny-list"}
    [violation] = refusal.value.field_violations
    assert violation.field == field
    assert f"“{WORD}”" in violation.description
    assert list(avatars.generations.list()) == []
    assert len(screened.rows("avatar_generations")) == rows_before
    assert moderation.requests == []


def test_every_denied_field_is_named(avatars: AvatarCreator, project_id: str) -> None:
    with pytest.raises(InvalidArgumentError) as refusal:
        avatars.generations.create(
            project_id,
            f"a {WORD}",
            avatar_name="Ann",
            persona=Persona(name=WORD, personality=[WORD, "warm", WORD]),
        )

    assert [violation.field for violation in refusal.value.field_violations] == [
        "prompt",
        "persona.name",
        "persona.personality[0]",
        "persona.personality[2]",
    ]


def test_an_estimate_refuses_denied_words_and_does_not_ask_the_moderation_service(
    moderation: ModerationServiceFake, avatars: AvatarCreator, project_id: str
) -> None:
    moderation.mode = "flagged"
    assert avatars.generations.estimate(project_id, "a woman").provider == "sketch"

    with pytest.raises(InvalidArgumentError) as refusal:
        avatars.generations.estimate(project_id, f"a {WORD}")
    assert refusal.value.reason == "PROMPT_REFUSED"
    assert [violation.field for violation in refusal.value.field_violations] == ["generation.prompt"]
    assert moderation.requests == []


def test_what_is_to_be_kept_out_may_be_named(avatars: AvatarCreator, project_id: str) -> None:
    generation = avatars.generations.create(project_id, "a woman", negative_prompt=WORD, **SMALL)

    assert generation.negative_prompt == WORD


def test_all_of_the_callers_words_are_moderated_together(
    moderation: ModerationServiceFake, avatars: AvatarCreator, project_id: str
) -> None:
    words = ["a woman in the sun", "Portrait", "Ann", "warm", "Grew up in Bandung.", "Indonesian"]
    prompt, avatar_name, name, trait, background, ethnicity = words
    avatars.generations.create(
        project_id,
        prompt,
        avatar_name=avatar_name,
        persona=Persona(name=name, personality=[trait], background=background),
        attributes=Attributes(ethnicity=ethnicity),
        negative_prompt="blood",
        **SMALL,
    )

    [request] = moderation.requests
    assert request.authorization == f"Bearer {KEY}"
    assert request.body == {"input": "\n".join(words)}


def test_flagged_words_are_refused_and_nothing_is_created(
    screened: Deployment,
    moderation: ModerationServiceFake,
    avatars: AvatarCreator,
    project_id: str,
    rows_before: int,
) -> None:
    moderation.mode = "flagged"
    with pytest.raises(InvalidArgumentError) as refusal:
        avatars.generations.create(project_id, "a fight", **SMALL)

    assert refusal.value.reason == "PROMPT_REFUSED"
    assert refusal.value.metadata == {"source": "moderation"}
    [violation] = refusal.value.field_violations
    assert violation.field == "prompt"
    assert violation.description.endswith(f" as {', '.join(FLAGGED_CATEGORIES)}")
    assert list(avatars.generations.list()) == []
    assert len(screened.rows("avatar_generations")) == rows_before


@pytest.mark.parametrize("mode", ["500", "malformed", "drop", "hang"])
def test_nothing_is_created_unseen_and_the_same_call_succeeds_later(
    screened: Deployment,
    moderation: ModerationServiceFake,
    avatars: AvatarCreator,
    project_id: str,
    rows_before: int,
    mode: Mode,
) -> None:
    wishes: dict[str, Any] = {"prompt": "a woman", "request_id": str(uuid.uuid4()), **SMALL}
    moderation.mode = mode
    with pytest.raises(UnavailableError) as refusal:
        avatars.generations.create(project_id, timeout=ONE_ATTEMPT_SECONDS, **wishes)

    assert refusal.value.reason == "MODERATION_UNAVAILABLE"
    assert refusal.value.retry_after
    assert moderation.requests
    assert list(avatars.generations.list()) == []
    assert len(screened.rows("avatar_generations")) == rows_before

    moderation.mode = "clean"
    generation = avatars.generations.create(project_id, **wishes)
    assert avatars.generations.create(project_id, **wishes).id == generation.id
    assert [found.id for found in avatars.generations.list()] == [generation.id]


def test_a_call_that_succeeded_is_answered_again_while_nobody_can_be_asked(
    moderation: ModerationServiceFake, avatars: AvatarCreator, project_id: str
) -> None:
    wishes: dict[str, Any] = {"prompt": "a woman", "request_id": str(uuid.uuid4()), **SMALL}
    made = avatars.generations.create(project_id, **wishes)
    moderation.mode = "500"

    assert avatars.generations.create(project_id, **wishes).id == made.id
    assert len(moderation.requests) == 1


def test_a_retry_is_held_to_the_deny_list_of_today(tmp_path: Path, user: str) -> None:
    deny_list = tmp_path / "denied.txt"
    deny_list.write_text("other\n")
    deployment = Deployment.embedded(tmp_path, PROMPT_DENY_LIST_FILE=str(deny_list))
    try:
        server = deployment.start_server()
        with deployment.client(user) as avatars:
            project = avatars.projects.create("Retried")
            generation = avatars.generations.create(project.id, f"a {WORD}", width=1440, height=1440)
            avatars.generations.cancel(generation.id)
        server.terminate()
        deny_list.write_text(f"{WORD}\n")
        deployment.start_server()
        with deployment.client(user) as avatars:
            with pytest.raises(InvalidArgumentError) as refusal:
                avatars.generations.retry(generation.id)
            assert refusal.value.reason == "PROMPT_REFUSED"
            assert [found.id for found in avatars.generations.list()] == [generation.id]
    finally:
        deployment.close()


def test_neither_key_nor_words_are_in_the_log(
    screened: Deployment, moderation: ModerationServiceFake, avatars: AvatarCreator, project_id: str
) -> None:
    prompt = f"unheard-of {uuid.uuid4().hex}"
    for mode in ("flagged", "500", "malformed", "drop"):
        moderation.mode = mode
        with pytest.raises((InvalidArgumentError, UnavailableError)):
            avatars.generations.create(project_id, prompt, timeout=ONE_ATTEMPT_SECONDS)
    with pytest.raises(InvalidArgumentError):
        avatars.generations.create(project_id, f"{prompt} {WORD}")

    [server] = screened.servers
    assert "moderation_unavailable" in server.output()
    assert KEY not in server.output()
    assert prompt not in server.output()
