"""The provider `diffusers` without its libraries."""

from __future__ import annotations

import sys

import pytest

from avatar_creator_server.settings import SettingsError
from avatar_creator_tasks.providers.diffusers.provider import DiffusersProvider
from avatar_creator_tasks.providers.diffusers.settings import ModelSettings


def test_the_error_without_the_extra_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # Python itself marks a missing module in this way.
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SettingsError) as caught:
        DiffusersProvider(ModelSettings("black-forest-labs/FLUX.1-dev"))
    assert "torch" in str(caught.value)
    assert "install the extra gpu from the wheel, see docs/providers.md" in str(caught.value)
