"""The name of a generated avatar."""

from __future__ import annotations

import pytest

from avatar_creator.v1.generation_service_pb2 import CreateGenerationRequest
from avatar_creator.v1.persona_pb2 import Persona
from tests.contract.calls import Calls


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("confident business woman", "confident business woman"),
        ("woman\nin a\tred  coat", "woman in a red coat"),
        (" " * 130 + "woman", "woman"),
        ("ab " * 60, " ".join(["ab"] * 40)),
        ("x" * 200, "x" * 120),
    ],
)
def test_the_default_name_has_the_first_words_of_the_prompt(calls: Calls, prompt: str, name: str) -> None:
    request = CreateGenerationRequest(project_id=calls.create_project().id, prompt=prompt)
    assert calls.generations.CreateGeneration(request).generation.avatar_name == name


def test_the_name_of_the_persona_comes_before_the_prompt(calls: Calls) -> None:
    request = CreateGenerationRequest(
        project_id=calls.create_project().id, prompt="a calm man", persona=Persona(name="Sarah")
    )
    assert calls.generations.CreateGeneration(request).generation.avatar_name == "Sarah"


def test_a_given_name_comes_first(calls: Calls) -> None:
    request = CreateGenerationRequest(
        project_id=calls.create_project().id,
        prompt="a calm man",
        persona=Persona(name="Sarah"),
        avatar_name="Face",
    )
    assert calls.generations.CreateGeneration(request).generation.avatar_name == "Face"
