"""The provider `diffusers` where the libraries it needs are not installed."""

from __future__ import annotations

import sys

import pytest

from avatar_creator_server.settings import SettingsError
from avatar_creator_tasks.providers.diffusers.provider import DiffusersProvider, FluxSettings


def test_without_the_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # As Python itself marks a module that is not there to be imported.
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SettingsError) as caught:
        DiffusersProvider(FluxSettings("black-forest-labs/FLUX.1-dev"))
    assert "torch" in str(caught.value)
    assert 'pip install "avatar-creator[gpu]"' in str(caught.value)
