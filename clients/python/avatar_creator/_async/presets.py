"""The gallery of starting points: presets and persona examples."""

from __future__ import annotations

from avatar_creator._async.items import AsyncItems
from avatar_creator._async.namespace import AsyncNamespace
from avatar_creator._requests import presets as requests
from avatar_creator.values import PersonaExample, Preset


class AsyncPresets(AsyncNamespace):
    """Presets: ready-made starting points for an avatar, the same for every user."""

    def list(
        self,
        *,
        category: str | None = None,
        query: str | None = None,
        include_images: bool | None = None,
        page_size: int | None = None,
        page_token: str | None = None,
        timeout: float | None = None,
    ) -> AsyncItems[Preset]:
        """Return an iterator over all presets that match every given filter, most popular first.

        Args:
            category: Only presets of this category; None means all.
            query: Words that must occur in the name or the description; at most 200 characters.
            include_images: True fills `image_data`.
            page_size: Items per page, 1 to 100; None means 20.
            page_token: `next_page_token` of an earlier page; None starts at the first page.
            timeout: Seconds for each page; None uses the client's `timeout`.

        Returns:
            The presets; iterating requests the pages one by one.

        Examples:
            >>> async for preset in client.presets.list(query="teacher"):
            ...     print(preset.name)
            Village schoolteacher in a peci
        """
        return self._list(
            requests.list_presets(category, query, include_images, page_token, page_size), timeout
        )

    async def get(self, preset: Preset | str, *, timeout: float | None = None) -> Preset:
        """Return a preset with its picture.

        Args:
            preset: Preset, or its id.
            timeout: Seconds for all attempts together; None uses the client's `timeout`.

        Raises:
            NotFoundError: The preset does not exist.

        Examples:
            >>> preset = await anext(client.presets.list())
            >>> preset = await client.presets.get(preset)
            >>> print(preset.image_data[8:12])
            b'WEBP'
        """
        return await self._connection.call(requests.get_preset(preset), timeout)


class AsyncPersonas(AsyncNamespace):
    """Persona examples: ready-made personas for an avatar, the same for every user."""

    def list(
        self,
        *,
        category: str | None = None,
        page_size: int | None = None,
        page_token: str | None = None,
        timeout: float | None = None,
    ) -> AsyncItems[PersonaExample]:
        """Return an iterator over all persona examples of the category, most used first.

        Args:
            category: Only persona examples of this category; None means all.
            page_size: Items per page, 1 to 100; None means 20.
            page_token: `next_page_token` of an earlier page; None starts at the first page.
            timeout: Seconds for each page; None uses the client's `timeout`.

        Returns:
            The persona examples; iterating requests the pages one by one.

        Examples:
            >>> async for example in client.personas.list(category="business"):
            ...     print(example.persona.name, example.persona.age)
            Aminata 36
            Tariq 27
        """
        return self._list(requests.list_persona_examples(category, page_token, page_size), timeout)

    async def get(
        self, persona_example: PersonaExample | str, *, timeout: float | None = None
    ) -> PersonaExample:
        """Return a persona example.

        Args:
            persona_example: Persona example, or its id.
            timeout: Seconds for all attempts together; None uses the client's `timeout`.

        Raises:
            NotFoundError: The persona example does not exist.

        Examples:
            >>> example = await anext(client.personas.list())
            >>> example = await client.personas.get(example.id)
            >>> print(example.persona.personality)
            ('patient', 'encouraging', 'clear')
        """
        return await self._connection.call(requests.get_persona_example(persona_example), timeout)
