"""Projects of a user: folders of avatars."""

from __future__ import annotations

from avatar_creator._async.items import AsyncItems
from avatar_creator._async.namespace import AsyncNamespace
from avatar_creator._requests import projects as requests
from avatar_creator.values import OpenedProject, Project


class AsyncProjects(AsyncNamespace):
    """Projects of the calling user. A project is a folder of avatars."""

    async def create(
        self,
        name: str,
        description: str = "",
        *,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> Project:
        """Create a project.

        Args:
            name: Name of the project, 1 to 120 characters.
            description: Description of the project, at most 2,000 characters.
            request_id: UUID of this logical call; None creates one.
            timeout: Seconds for all attempts together; None uses the client's `timeout`.

        Returns:
            The new project.

        Raises:
            InvalidArgumentError: The name or the description exceeds its limit.
            AlreadyExistsError: The `request_id` was used for another project.

        Examples:
            >>> project = await client.projects.create("Autumn", description="Faces for the posters")
            >>> print(project.name, project.avatar_count)
            Autumn 0
        """
        return await self._connection.call(requests.create_project(name, description, request_id), timeout)

    async def get(self, project: Project | str, *, timeout: float | None = None) -> Project:
        """Return a project.

        Args:
            project: Project, or its id.
            timeout: Seconds for all attempts together; None uses the client's `timeout`.

        Raises:
            NotFoundError: The project does not exist or belongs to another user.

        Examples:
            >>> project = await client.projects.get(project.id)
            >>> print(project.name, project.revision)
            Spring campaign 1
        """
        return await self._connection.call(requests.get_project(project), timeout)

    async def open(
        self, project: Project | str, *, include_links: bool = False, timeout: float | None = None
    ) -> OpenedProject:
        """Return a project with up to 20 of its newest avatars and their thumbnails, in one call.

        Args:
            project: Project, or its id.
            include_links: True fills `image_url` and `thumbnail_url` of the avatars.
            timeout: Seconds for all attempts together; None uses the client's `timeout`.

        Returns:
            The project, the avatars, and the `next_page_token` with which `avatars.list` returns the rest.

        Raises:
            NotFoundError: The project does not exist or belongs to another user.

        Examples:
            >>> opened = await client.projects.open(project)
            >>> print([face.name for face in opened.avatars], opened.project.avatar_count)
            ['Sarah'] 1
        """
        return await self._connection.call(requests.open_project(project, include_links), timeout)

    def list(
        self,
        *,
        include_newest_avatars: bool = False,
        include_links: bool = False,
        page_size: int = 0,
        page_token: str = "",
        user_id: str = "",
        timeout: float | None = None,
    ) -> AsyncItems[Project]:
        """Return an iterator over all projects of the user, newest first.

        Args:
            include_newest_avatars: True fills `newest_avatars`, at most four for each project.
            include_links: True fills `image_url` and `thumbnail_url` of these avatars.
            page_size: Items per page, 1 to 100; 0 means 20.
            page_token: `next_page_token` of an earlier page; empty starts at the first page.
            user_id: For operators: the owner of the projects, or `-` for all users. Empty means the caller.
            timeout: Seconds for each page; None uses the client's `timeout`.

        Returns:
            The projects; iterating requests the pages one by one.

        Raises:
            PermissionDeniedError: `user_id` is another user and the token has no operator role.

        Examples:
            >>> async for each in client.projects.list():
            ...     print(each.name)
            Spring campaign
        """
        return self._list(
            requests.list_projects(include_newest_avatars, include_links, user_id),
            page_token,
            page_size,
            timeout,
        )

    async def update(
        self,
        project: Project | str,
        *,
        name: str | None = None,
        description: str | None = None,
        expected_revision: int = 0,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> Project:
        """Replace the given fields of a project and keep the others.

        Give the `revision` of the project that you read as `expected_revision`, so that the update cannot
        overwrite a change of another program.

        Args:
            project: Project, or its id.
            name: New name, 1 to 120 characters; None keeps the current one.
            description: New description, at most 2,000 characters; None keeps the current one, "" removes it.
            expected_revision: Revision that the project must have; 0 means any.
            request_id: UUID of this logical call; None creates one.
            timeout: Seconds for all attempts together; None uses the client's `timeout`.

        Returns:
            The project after the update.

        Raises:
            ValueError: No field is given.
            InvalidArgumentError: The name or the description exceeds its limit.
            NotFoundError: The project does not exist or belongs to another user.
            AbortedError: The project has another revision, `metadata["current_revision"]`.

        Examples:
            >>> changed = await client.projects.update(
            ...     project, name="Spring 2027", expected_revision=project.revision
            ... )
            >>> print(changed.name, changed.revision)
            Spring 2027 2
        """
        return await self._connection.call(
            requests.update_project(project, name, description, expected_revision, request_id), timeout
        )

    async def delete(self, project: Project | str, *, timeout: float | None = None) -> None:
        """Delete a project with all its avatars and generations. The client does not retry it.

        Args:
            project: Project, or its id.
            timeout: Seconds for the call; None uses the client's `timeout`.

        Raises:
            NotFoundError: The project does not exist or belongs to another user.
            UnavailableError: The connection broke; the project may be deleted or not.

        Examples:
            >>> await client.projects.delete(project)
            >>> print([each.name async for each in client.projects.list()])
            []
        """
        await self._connection.call(requests.delete_project(project), timeout)
