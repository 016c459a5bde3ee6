"""Words that the deny list or the moderation service refuses, before anything is created."""

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
from tests.support.generations import SMALLEST, create_cancelled
from tests.support.moderation_service import FLAGGED_CATEGORIES, Mode, ModerationServiceFake
from tests.support.service import Deployment
from tests.support.service_in_thread import ServiceInThread

SMALL: dict[str, Any] = {"width": SMALLEST, "height": SMALLEST}
KEY = "sk-canary-9c1e"
ONE_ATTEMPT_SECONDS = 4.5
"""Timeout that is longer than the wait for the moderation service, and too short for a client's retry."""

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
def fake_process() -> Iterator[ModerationServiceFake]:
    with ModerationServiceFake() as running:
        yield running


@pytest.fixture
def fake(fake_process: ModerationServiceFake) -> ModerationServiceFake:
    fake_process.mode = "clean"
    fake_process.requests.clear()
    return fake_process


@pytest.fixture(scope="module")
def moderated(
    fake_process: ModerationServiceFake, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    directory = tmp_path_factory.mktemp("moderated")
    deny_list = directory / "denied.txt"
    deny_list.write_text(f"# An invented word\n{WORD}\n")
    deployment = Deployment.embedded(
        directory,
        PROMPT_DENY_LIST_FILE=str(deny_list),
        MODERATION_URL=fake_process.url,
        MODERATION_API_KEY=KEY,
    )
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.close()


@pytest.fixture
def avatars(moderated: Deployment, fake: ModerationServiceFake, user: str) -> Iterator[AvatarCreator]:
    with moderated.client(user) as connected:
        yield connected


@pytest.fixture
def project_id(avatars: AvatarCreator) -> str:
    return avatars.projects.create("Moderated").id


@pytest.fixture
def rows_before(moderated: Deployment, project_id: str) -> int:
    return len(moderated.rows("avatar_generations"))


@pytest.mark.parametrize("field", DENIED_FIELDS)
def test_a_denied_word_is_refused_in_every_field_and_nothing_is_created(
    moderated: Deployment,
    fake: ModerationServiceFake,
    avatars: AvatarCreator,
    project_id: str,
    rows_before: int,
    field: str,
) -> None:
    parameters = {"prompt": "a woman", **DENIED_FIELDS[field]}

    with pytest.raises(InvalidArgumentError) as refusal:
        avatars.generations.create(project_id, **parameters)

    assert refusal.value.reason == "PROMPT_REFUSED"
    assert refusal.value.metadata == {"source": "deny-list"}
    [violation] = refusal.value.field_violations
    assert violation.field == field
    assert f"“{WORD}”" in violation.description
    assert list(avatars.generations.list()) == []
    assert len(moderated.rows("avatar_generations")) == rows_before
    assert fake.requests == []


def test_a_refusal_names_every_denied_field(avatars: AvatarCreator, project_id: str) -> None:
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
    fake: ModerationServiceFake, avatars: AvatarCreator, project_id: str
) -> None:
    fake.mode = "flagged"
    assert avatars.generations.estimate(project_id, "a woman").provider == "sketch"

    with pytest.raises(InvalidArgumentError) as refusal:
        avatars.generations.estimate(project_id, f"a {WORD}")
    assert refusal.value.reason == "PROMPT_REFUSED"
    assert [violation.field for violation in refusal.value.field_violations] == ["prompt"]
    assert fake.requests == []


def test_a_negative_prompt_may_have_denied_words(avatars: AvatarCreator, project_id: str) -> None:
    generation = avatars.generations.create(project_id, "a woman", negative_prompt=WORD, **SMALL)

    assert generation.generation.negative_prompt == WORD


def test_all_words_of_the_caller_are_moderated_together(
    fake: ModerationServiceFake, avatars: AvatarCreator, project_id: str
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

    [request] = fake.requests
    assert request.authorization == f"Bearer {KEY}"
    assert request.body == {"input": "\n".join(words)}


def test_flagged_words_are_refused_and_nothing_is_created(
    moderated: Deployment,
    fake: ModerationServiceFake,
    avatars: AvatarCreator,
    project_id: str,
    rows_before: int,
) -> None:
    fake.mode = "flagged"
    with pytest.raises(InvalidArgumentError) as refusal:
        avatars.generations.create(project_id, "a fight", **SMALL)

    assert refusal.value.reason == "PROMPT_REFUSED"
    assert refusal.value.metadata == {"source": "moderation"}
    [violation] = refusal.value.field_violations
    assert violation.field == "prompt"
    assert violation.description.endswith(f" as {', '.join(FLAGGED_CATEGORIES)}; use other words")
    assert list(avatars.generations.list()) == []
    assert len(moderated.rows("avatar_generations")) == rows_before


@pytest.mark.parametrize("mode", ["500", "malformed", "drop", "hang"])
def test_nothing_is_created_without_moderation_and_the_same_call_succeeds_later(
    moderated: Deployment,
    fake: ModerationServiceFake,
    avatars: AvatarCreator,
    project_id: str,
    rows_before: int,
    mode: Mode,
) -> None:
    parameters: dict[str, Any] = {"prompt": "a woman", "request_id": str(uuid.uuid4()), **SMALL}
    fake.mode = mode
    with pytest.raises(UnavailableError) as refusal:
        avatars.generations.create(project_id, timeout=ONE_ATTEMPT_SECONDS, **parameters)

    assert refusal.value.reason == "MODERATION_UNAVAILABLE"
    assert refusal.value.retry_after
    assert fake.requests
    assert list(avatars.generations.list()) == []
    assert len(moderated.rows("avatar_generations")) == rows_before

    fake.mode = "clean"
    generation = avatars.generations.create(project_id, **parameters)
    assert avatars.generations.create(project_id, **parameters).id == generation.id
    assert [found.id for found in avatars.generations.list()] == [generation.id]


def test_a_repeated_call_is_answered_while_the_moderation_service_is_down(
    fake: ModerationServiceFake, avatars: AvatarCreator, project_id: str
) -> None:
    parameters: dict[str, Any] = {"prompt": "a woman", "request_id": str(uuid.uuid4()), **SMALL}
    created = avatars.generations.create(project_id, **parameters)
    fake.mode = "500"

    assert avatars.generations.create(project_id, **parameters).id == created.id
    assert len(fake.requests) == 1


def test_a_retry_is_checked_with_the_current_deny_list(tmp_path: Path, user: str) -> None:
    deny_list = tmp_path / "denied.txt"
    deny_list.write_text("other\n")
    deployment = Deployment.embedded(tmp_path, PROMPT_DENY_LIST_FILE=str(deny_list))
    with ServiceInThread.serving(deployment), deployment.client(user) as avatars:
        project = avatars.projects.create("Retried")
        generation = create_cancelled(avatars, project.id, f"a {WORD}")
        before = [found.id for found in avatars.generations.list()]
    deny_list.write_text(f"{WORD}\n")
    with ServiceInThread.serving(deployment), deployment.client(user) as avatars:
        with pytest.raises(InvalidArgumentError) as refusal:
            avatars.generations.retry(generation.id)
        assert refusal.value.reason == "PROMPT_REFUSED"
        assert [found.id for found in avatars.generations.list()] == before


def test_the_log_has_no_key_and_no_words(
    moderated: Deployment, fake: ModerationServiceFake, avatars: AvatarCreator, project_id: str
) -> None:
    prompt = f"unheard-of {uuid.uuid4().hex}"
    for mode in ("flagged", "500", "malformed", "drop"):
        fake.mode = mode
        with pytest.raises((InvalidArgumentError, UnavailableError)):
            avatars.generations.create(project_id, prompt, timeout=ONE_ATTEMPT_SECONDS)
    with pytest.raises(InvalidArgumentError):
        avatars.generations.create(project_id, f"{prompt} {WORD}")

    [server] = moderated.servers
    assert "moderation_unavailable" in server.output()
    assert KEY not in server.output()
    assert prompt not in server.output()
