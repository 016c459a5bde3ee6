"""The operations guide says what to do about every alert."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).parents[2]


def test_the_operations_guide_has_every_alert_and_no_other() -> None:
    groups = yaml.safe_load((REPOSITORY / "deploy" / "prometheus-alerts.yml").read_text())["groups"]
    alerts = [rule["alert"] for group in groups for rule in group["rules"]]
    guide = (REPOSITORY / "docs" / "operations.md").read_text()

    assert re.findall(r"^\| (AvatarCreator\w+) \|", guide, re.MULTILINE) == alerts
