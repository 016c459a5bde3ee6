# Generated from avatar_creator/_async/operations.py by `make client`. Do not edit: change that file instead.
"""Operation of the service: workers, the queue, and the limits of users."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from avatar_creator._requests import operations as requests
from avatar_creator._sync.items import Items
from avatar_creator._sync.namespace import Namespace
from avatar_creator.enums import (
    ErrorReason,
    GenerationPriority,
    GenerationPriorityWord,
    GenerationState,
    GenerationStateWord,
    UserOrder,
    UserOrderWord,
)
from avatar_creator.handles import AnyGeneration
from avatar_creator.values import (
    BulkCancellation,
    BulkRetry,
    Generation,
    Project,
    Queue,
    UserActivity,
    UserLimits,
    Worker,
)


class Operations(Namespace):
    """Operation of the service, with a token that has the role ops.

    Every method raises `PermissionDeniedError` if the token has no such role, except `bulk_cancel` and
    `bulk_retry` of your own generations. The service logs every call of an operator.
    """

    def list_workers(
        self, *, page_size: int | None = None, page_token: str | None = None, timeout: float | None = None
    ) -> Items[Worker]:
        """Return an iterator over the live workers and those that were lost in the last day, by name.

        Args:
            page_size: Items per page, 1 to 100; None means 20.
            page_token: `next_page_token` of an earlier page; None starts at the first page.
            timeout: Seconds for each page; None uses the client's `timeout`.

        Returns:
            The workers, each with the attempts that it runs; iterating requests the pages one by one.

        Examples:
            >>> for worker in client.operations.list_workers():
            ...     print(worker.state, worker.provider, len(worker.running))
            live sketch 0
        """
        return self._list(requests.list_workers(page_token, page_size), timeout)

    def drain_worker(self, worker: Worker | str, *, timeout: float | None = None) -> Worker:
        """Let a worker finish what it runs and claim no further generations, until `resume_worker`.

        Args:
            worker: The worker, or its name.
            timeout: Seconds for all attempts together; None uses the client's `timeout`.

        Returns:
            The worker.

        Raises:
            NotFoundError: There is no such worker.

        Examples:
            >>> worker = next(client.operations.list_workers())
            >>> worker = client.operations.drain_worker(worker)
            >>> print(worker.state)
            draining
        """
        return self._connection.call(requests.drain_worker(worker), timeout)

    def resume_worker(self, worker: Worker | str, *, timeout: float | None = None) -> Worker:
        """Let a drained worker take generations again.

        Args:
            worker: The worker, or its name.
            timeout: Seconds for all attempts together; None uses the client's `timeout`.

        Returns:
            The worker.

        Raises:
            NotFoundError: There is no such worker.

        Examples:
            >>> worker = next(client.operations.list_workers())
            >>> worker = client.operations.resume_worker(worker.name)
            >>> print(worker.state)
            live
        """
        return self._connection.call(requests.resume_worker(worker), timeout)

    def get_queue(self, *, timeout: float | None = None) -> Queue:
        """Return how much waits and runs, what is paused, and what failed in the last hour.

        Args:
            timeout: Seconds for all attempts together; None uses the client's `timeout`.

        Examples:
            >>> queue = client.operations.get_queue()
            >>> print([f"{depth.due_count} {depth.priority}" for depth in queue.depths])
            ['0 interactive', '1 normal', '0 bulk']
        """
        return self._connection.call(requests.get_queue(), timeout)

    def pause_queue(
        self, route: str | None = None, *, note: str | None = None, timeout: float | None = None
    ) -> Queue:
        """Let no worker claim generations, or those of one route, until `resume_queue`.

        Pausing twice changes only the note.

        Args:
            route: Name of the route; None means the whole queue.
            note: Note for the users whose generations wait, at most 200 characters.
            timeout: Seconds for all attempts together; None uses the client's `timeout`.

        Returns:
            The queue with the pause.

        Raises:
            InvalidArgumentError: The service has no such route; the message names its routes.

        Examples:
            >>> queue = client.operations.pause_queue(note="Back at 09:00 UTC")
            >>> print(queue.pauses[0].note)
            Back at 09:00 UTC
        """
        return self._connection.call(requests.pause_queue(route, note), timeout)

    def resume_queue(self, route: str | None = None, *, timeout: float | None = None) -> Queue:
        """End the pause of the whole queue, or of one route.

        Args:
            route: Name of the route; None means the whole queue.
            timeout: Seconds for all attempts together; None uses the client's `timeout`.

        Returns:
            The queue without the pause.

        Examples:
            >>> queue = client.operations.resume_queue()
            >>> print(queue.pauses)
            ()
        """
        return self._connection.call(requests.resume_queue(route), timeout)

    def retry_now(self, generation: AnyGeneration, *, timeout: float | None = None) -> Generation:
        """Start the retry of a generation now that waits for the time of its next attempt.

        Args:
            generation: The generation, or its id.
            timeout: Seconds for all attempts together; None uses the client's `timeout`.

        Returns:
            The generation, with the same id. A generation that is already due or runs is unchanged.

        Raises:
            FailedPreconditionError: The generation has ended.
            NotFoundError: The generation does not exist.

        Examples:
            >>> for generation in client.generations.list(user_id="-", states="pending"):
            ...     generation = client.operations.retry_now(generation)
            ...     print(generation.stage)
            queued
        """
        return self._connection.call(requests.retry_now(generation), timeout)

    def bulk_cancel(
        self,
        *,
        user_id: str | None = None,
        project: Project | str | None = None,
        states: GenerationState
        | GenerationStateWord
        | Iterable[GenerationState | GenerationStateWord]
        | None = None,
        error_reasons: ErrorReason | str | Iterable[ErrorReason | str] | None = None,
        priorities: GenerationPriority
        | GenerationPriorityWord
        | Iterable[GenerationPriority | GenerationPriorityWord]
        | None = None,
        create_time_to: datetime | None = None,
        dry_run: bool | None = None,
        max_count: int | None = None,
        timeout: float | None = None,
    ) -> BulkCancellation:
        """Cancel the generations that match every given filter, oldest first.

        The client does not repeat the call after a lost answer, because a second one would go on with further
        generations. See with `dry_run` what is left.

        Args:
            user_id: The user whose generations to cancel, or `-` for all users; None means your own, which
                needs no role.
            project: Only generations of this project, or of the project with this id; None means all.
            states: PENDING or PROCESSING; None means both.
            error_reasons: Only generations whose last attempt failed with one of these reasons; None means
                all generations.
            priorities: Only generations of one of these priorities; None means all.
            create_time_to: Only generations created before this time, which must have a time zone.
            dry_run: True changes nothing, and returns what would be cancelled.
            max_count: Maximum number of generations, 1 to 1,000; None means 100.
            timeout: Seconds for all attempts together; None uses the client's `transfer_timeout`.

        Returns:
            `generation_count`, the first `generation_ids`, and `has_more`.

        Raises:
            InvalidArgumentError: A state cannot be cancelled, or a time has no time zone.

        Examples:
            >>> found = client.operations.bulk_cancel(user_id="sarah", dry_run=True)
            >>> print(found.generation_count, found.has_more)
            1 False
            >>> cancelled = client.operations.bulk_cancel(user_id="sarah")
        """
        call = requests.bulk_cancel(
            user_id, project, states, error_reasons, priorities, create_time_to, dry_run, max_count
        )
        return self._connection.call(call, timeout)

    def bulk_retry(
        self,
        *,
        user_id: str | None = None,
        project: Project | str | None = None,
        states: GenerationState
        | GenerationStateWord
        | Iterable[GenerationState | GenerationStateWord]
        | None = None,
        error_reasons: ErrorReason | str | Iterable[ErrorReason | str] | None = None,
        priorities: GenerationPriority
        | GenerationPriorityWord
        | Iterable[GenerationPriority | GenerationPriorityWord]
        | None = None,
        create_time_to: datetime | None = None,
        dry_run: bool | None = None,
        max_count: int | None = None,
        timeout: float | None = None,
    ) -> BulkRetry:
        """Retry the generations that match every given filter, oldest first, each at most once.

        The client does not repeat the call after a lost answer; see `bulk_cancel`.

        Args:
            user_id: The user whose generations to retry, or `-` for all users; None means your own, which
                needs no role.
            project: Only generations of this project, or of the project with this id; None means all.
            states: FAILED, CANCELLED or both; None means FAILED.
            error_reasons: Only generations that failed with one of these reasons; None means all.
            priorities: Only generations of one of these priorities; None means all.
            create_time_to: Only generations created before this time, which must have a time zone.
            dry_run: True changes nothing, and returns what would be retried.
            max_count: Maximum number of generations, 1 to 1,000; None means 100.
            timeout: Seconds for all attempts together; None uses the client's `transfer_timeout`.

        Returns:
            `generation_count`, the first `generation_ids` with their `retry_ids`, `has_more`, and the
            `failures` of those that could not be retried.

        Raises:
            InvalidArgumentError: A state cannot be retried, or a time has no time zone.

        Examples:
            >>> found = client.operations.bulk_retry(
            ...     user_id="-", error_reasons="PROVIDER_TIMEOUT", dry_run=True
            ... )
            >>> print(found.generation_count, found.failure_count)
            0 0
        """
        call = requests.bulk_retry(
            user_id, project, states, error_reasons, priorities, create_time_to, dry_run, max_count
        )
        return self._connection.call(call, timeout)

    def list_users(
        self,
        *,
        order: UserOrder | UserOrderWord | None = None,
        since: datetime | None = None,
        page_size: int | None = None,
        page_token: str | None = None,
        timeout: float | None = None,
    ) -> Items[UserActivity]:
        """Return an iterator over the users with the most of something, largest number first.

        Args:
            order: The number that counts; None means the length of the queue.
            since: Start of the period for failures and cost, with a time zone; None means 24 hours ago.
            page_size: Items per page, 1 to 100; None means 20.
            page_token: `next_page_token` of an earlier page; None starts at the first page.
            timeout: Seconds for each page; None uses the client's `timeout`.

        Returns:
            The users; iterating requests the pages one by one.

        Raises:
            InvalidArgumentError: A time has no time zone.

        Examples:
            >>> for user in client.operations.list_users(order="queue_depth"):
            ...     print(user.user_id, user.due_count)
            sarah 1
        """
        return self._list(requests.list_users(order, since, page_token, page_size), timeout)

    def get_limits(self, user_id: str, *, timeout: float | None = None) -> UserLimits:
        """Return the limits of a user, and what the user has used of them.

        Args:
            user_id: Id of the user.
            timeout: Seconds for all attempts together; None uses the client's `timeout`.

        Examples:
            >>> limits = client.operations.get_limits("sarah")
            >>> print(limits.own.per_day, limits.used.concurrent)
            None 1
        """
        return self._connection.call(requests.get_user_limits(user_id), timeout)

    def set_limits(
        self,
        user_id: str,
        *,
        concurrent: int | None = None,
        per_minute: int | None = None,
        per_day: int | None = None,
        spend_per_day_micros: int | None = None,
        timeout: float | None = None,
    ) -> UserLimits:
        """Set limits of a user, over those of the service's settings. They hold for the next call.

        Args:
            user_id: Id of the user.
            concurrent: Generations that wait or run; 0 means no limit, as in the next arguments, and None
                leaves the limit as it is.
            per_minute: Generations started within a minute.
            per_day: Generations started within 24 hours.
            spend_per_day_micros: Price of the generations started within 24 hours, in millionths of a US
                dollar.
            timeout: Seconds for all attempts together; None uses the client's `timeout`.

        Returns:
            All limits of the user.

        Raises:
            InvalidArgumentError: No limit is given, or one is negative.

        Examples:
            >>> limits = client.operations.set_limits("sarah", per_day=200)
            >>> print(limits.effective.per_day)
            200
        """
        return self._connection.call(
            requests.set_user_limits(user_id, concurrent, per_minute, per_day, spend_per_day_micros), timeout
        )

    def clear_limits(self, user_id: str, *, timeout: float | None = None) -> UserLimits:
        """Return a user to the limits of the service's settings.

        Args:
            user_id: Id of the user.
            timeout: Seconds for all attempts together; None uses the client's `timeout`.

        Returns:
            The limits of the settings.

        Examples:
            >>> limits = client.operations.clear_limits("sarah")
            >>> print(limits.own.per_day)
            None
        """
        return self._connection.call(requests.clear_user_limits(user_id), timeout)
