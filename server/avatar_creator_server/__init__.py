"""The service Avatar Creator."""

from __future__ import annotations

from typing import TYPE_CHECKING

DISTRIBUTION = "avatar-creator"
"""Name of the distribution that installs this package."""

__version__: str
"""Version of the installed distribution, for example `0.1.0`."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> str:
        """Read `__version__` from the installed metadata on first use: most imports do not need it."""
        if name != "__version__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib.metadata import version

        return version(DISTRIBUTION)
