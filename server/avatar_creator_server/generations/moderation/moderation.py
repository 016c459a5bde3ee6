"""The checks that an operator has set up for one service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from avatar_creator_server.errors import FieldViolation, InvalidArgumentError
from avatar_creator_server.generations.moderation.deny_list import DenyList
from avatar_creator_server.settings import SettingsError

if TYPE_CHECKING:
    from avatar_creator_server.generations.moderation.client import ModerationClient


class Moderation:
    """The deny list and the moderation service of one service. Without both, everything passes."""

    def __init__(self, deny_list: DenyList | None, client: ModerationClient | None) -> None:
        self._deny_list = deny_list
        self._client = client

    @classmethod
    def of(
        cls, deny_list_file: Path | None, moderation_url: str, moderation_api_key: SecretStr
    ) -> Moderation:
        """Create the moderation of these settings. A check whose setting is None or empty is off.

        Raises:
            SettingsError: The file, the URL or the key is unusable.
        """
        if moderation_api_key.get_secret_value() and not moderation_url:
            raise SettingsError(
                "MODERATION_API_KEY is set but MODERATION_URL is not, so nothing would be moderated: "
                "set MODERATION_URL, or unset MODERATION_API_KEY"
            )
        return cls(
            DenyList.read(deny_list_file) if deny_list_file else None,
            _client(moderation_url, moderation_api_key) if moderation_url else None,
        )

    @property
    def is_active(self) -> bool:
        """True if at least one check is on."""
        return self._deny_list is not None or self._client is not None

    def refuse_denied(self, texts: Mapping[str, str]) -> None:
        """Refuse words of the deny list.

        Args:
            texts: The caller's own texts, by the path of their field in the request.

        Raises:
            InvalidArgumentError: Names each field with a denied term, and the first term in the field.
        """
        if self._deny_list is None:
            return
        denied = {field: self._deny_list.first_in(text) for field, text in texts.items()}
        violations = [
            FieldViolation(field, f"has “{term}”, which is on the deny list of this service; use other words")
            for field, term in denied.items()
            if term is not None
        ]
        if violations:
            raise _refused_error(violations, source="deny-list")

    async def refuse_flagged(self, text: str) -> None:
        """Refuse a text that the moderation service flags. A text of blanks only is not sent.

        Raises:
            InvalidArgumentError: The text was flagged; names `prompt` and the categories.
            UnavailableError: The moderation service did not answer.
        """
        if self._client is None or not text.strip():
            return
        verdict = await self._client.moderate(text)
        if verdict.flagged:
            categories = f" as {', '.join(verdict.categories)}" if verdict.categories else ""
            description = f"was flagged by the moderation service{categories}; use other words"
            raise _refused_error([FieldViolation("prompt", description)], source="moderation")

    async def close(self) -> None:
        """Disconnect from the moderation service."""
        if self._client is not None:
            await self._client.close()


def _client(url: str, api_key: SecretStr) -> ModerationClient:
    # Not imported without a moderation service: httpx takes 5 MB of memory.
    from avatar_creator_server.generations.moderation.client import ModerationClient

    return ModerationClient(url, api_key)


def _refused_error(violations: Sequence[FieldViolation], *, source: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        "PROMPT_REFUSED",
        "; ".join(f"{violation.field}: {violation.description}" for violation in violations),
        metadata={"source": source},
        violations=violations,
    )
