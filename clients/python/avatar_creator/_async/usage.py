"""Uses of avatars by apps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from avatar_creator._async.items import AsyncItems
from avatar_creator._async.namespace import AsyncNamespace
from avatar_creator._requests import usage as requests
from avatar_creator.values import AppUsageSummary, Avatar, RecordedUsage, Stats, UsageRecord


class AsyncUsage(AsyncNamespace):
    """Uses of avatars by apps, and the user's statistics."""

    async def record(
        self,
        avatar: Avatar | str,
        *,
        action: str,
        app_id: str | None = None,
        app_name: str | None = None,
        reference_id: str | None = None,
        reference_type: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> RecordedUsage:
        """Record one use of an avatar.

        Args:
            avatar: The avatar that the app used, or its id.
            action: Name of the app's action, 1 to 120 characters, for example `generate_poses`.
            app_id: Id of the app, 1 to 120 characters; None uses the app of the token.
            app_name: Display name of the app, at most 120 characters; None means the id.
            reference_id: The app's own id of its result, at most 200 characters.
            reference_type: Type of the thing that `reference_id` identifies, at most 120 characters.
            metadata: Other facts that JSON can represent, at most 8 KiB (8,192 bytes) as JSON.
            request_id: UUID of this logical call; None creates one.
            timeout: Seconds for all attempts together; None uses the client's `timeout`.

        Returns:
            `usage`, the stored record, and `usage_count`, the avatar's number of uses including this one.

        Raises:
            InvalidArgumentError: A field exceeds its limit.
            NotFoundError: The avatar does not exist or belongs to another user.
            PermissionDeniedError: The token is bound to another app.

        Examples:
            >>> used = await client.usage.record(sarah, app_id="pose-generator", action="generate_poses")
            >>> print(used.usage.action, used.usage_count)
            generate_poses 1
        """
        return await self._connection.call(
            requests.record_usage(
                avatar, action, app_id, app_name, reference_id, reference_type, metadata, request_id
            ),
            timeout,
        )

    def list(
        self,
        avatar: Avatar | str,
        *,
        app_id: str | None = None,
        action: str | None = None,
        page_size: int | None = None,
        page_token: str | None = None,
        timeout: float | None = None,
    ) -> AsyncItems[UsageRecord]:
        """Return an iterator over all uses of an avatar, newest first.

        Args:
            avatar: Avatar, or its id.
            app_id: Only uses by this app; None means all apps.
            action: Only uses with this action; None means all actions.
            page_size: Items per page, 1 to 100; None means 20.
            page_token: `next_page_token` of an earlier page; None starts at the first page.
            timeout: Seconds for each page; None uses the client's `timeout`.

        Returns:
            The uses; iterating requests the pages one by one.

        Raises:
            NotFoundError: The avatar does not exist or belongs to another user.

        Examples:
            >>> await client.usage.record(sarah, app_id="pose-generator", action="generate_poses")
            RecordedUsage(...)
            >>> async for use in client.usage.list(sarah):
            ...     print(use.app_id, use.action)
            pose-generator generate_poses
        """
        return self._list(requests.list_usage(avatar, app_id, action, page_token, page_size), timeout)

    async def summarize(
        self, avatar: Avatar | str, *, timeout: float | None = None
    ) -> Sequence[AppUsageSummary]:
        """Return the number of uses of an avatar by each app, most used first.

        The client requests a page of up to 1,000 apps at a time.

        Args:
            avatar: Avatar, or its id.
            timeout: Seconds for each page; None uses the client's `timeout`.

        Raises:
            NotFoundError: The avatar does not exist or belongs to another user.

        Examples:
            >>> await client.usage.record(sarah, app_id="pose-generator", action="generate_poses")
            RecordedUsage(...)
            >>> for app in await client.usage.summarize(sarah):
            ...     print(app.app_id, app.usage_count)
            pose-generator 1
        """
        apps = []
        async for app in self._list(requests.summarize_usage(avatar), timeout):
            apps.append(app)
        return apps

    async def stats(self, *, user_id: str | None = None, timeout: float | None = None) -> Stats:
        """Return statistics about all avatars and generations of the user.

        The client requests a page of up to 5,000 entries of `spending` at a time.

        Args:
            user_id: For operators: the user, or `-` for the sum over all users. None means the caller.
            timeout: Seconds for each page; None uses the client's `timeout`.

        Raises:
            PermissionDeniedError: `user_id` is another user and the token has no operator role.

        Examples:
            >>> stats = await client.usage.stats()
            >>> print(stats.avatar_count, stats.recent_upload_count)
            1 1
        """
        stats = await self._connection.call(requests.get_stats(user_id, ""), timeout)
        while stats.next_page_token:
            page = await self._connection.call(requests.get_stats(user_id, stats.next_page_token), timeout)
            stats.spending.extend(page.spending)
            stats.next_page_token = page.next_page_token
        return requests.stats(stats)
