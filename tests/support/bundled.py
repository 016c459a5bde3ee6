"""Programs that come inside Python packages."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def package_directory(name: str) -> Path:
    """Return the folder of an installed package without importing it: an import warns and writes files.

    Raises:
        RuntimeError: it is not installed.
    """
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"the package {name} is not installed: pip install -e '.[dev]'")
    return Path(spec.origin).parent
