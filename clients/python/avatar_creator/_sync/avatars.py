# Generated from avatar_creator/_async/avatars.py by `make client`. Do not edit: change that file instead.
"""Avatars of a user and their pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import overload

from avatar_creator._requests import avatars as requests
from avatar_creator._sync.batches import outcome_of_each
from avatar_creator._sync.connection import Connection
from avatar_creator._sync.items import Items
from avatar_creator._sync.namespace import Namespace
from avatar_creator.enums import (
    AgeRange,
    AgeRangeWord,
    AvatarOrder,
    AvatarOrderWord,
    Gender,
    GenderWord,
    ImageVariant,
    ImageVariantWord,
    SourceType,
    SourceTypeWord,
    Style,
    StyleWord,
)
from avatar_creator.outcomes import BatchProgress, Outcome
from avatar_creator.pictures import Picture, PictureSource, UploadProgress, make_folder
from avatar_creator.values import (
    Attributes,
    AttributesFields,
    Avatar,
    AvatarBatch,
    Persona,
    PersonaFields,
    Project,
)


class Avatars(Namespace):
    """Avatars of the calling user and their pictures."""

    def upload(
        self,
        project: Project | str,
        picture: Picture,
        *,
        name: str,
        persona: Persona | PersonaFields | None = None,
        attributes: Attributes | AttributesFields | None = None,
        content_type: str = "",
        defer_thumbnail: bool = False,
        on_progress: UploadProgress | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> Avatar:
        """Create an avatar from a picture: JPEG, PNG or WebP, at most 10 MiB and 50 million pixels.

        The client retries the upload of a path or of bytes after a lost connection. It does not retry a file
        object, which may not be readable twice, and leaves it open.

        Args:
            project: Project that gets the avatar, or its id.
            picture: Path, bytes, a file open for reading in binary mode, or an image of Pillow.
            name: Name of the avatar, 1 to 120 characters.
            persona: Description of the person: a `Persona`, or its fields, as in `{"name": "Sarah"}`.
            attributes: Appearance of the person: `Attributes`, or their fields, as in `{"gender": "female"}`.
            content_type: `image/jpeg`, `image/png` or `image/webp`, or another name of that type, such as
                `image/jpg`. Empty lets the service detect the type.
            defer_thumbnail: True returns as soon as the picture is stored, without waiting for the
                thumbnail. `thumbnail_pending` is then true, and a worker makes the thumbnail soon after.
            on_progress: Called with the bytes sent and the total bytes, which are None if a file object has
                no known size. It runs on another thread. A retry starts again at the first byte.
            request_id: UUID of this logical call; None creates one.
            timeout: Seconds for all attempts together; None uses the client's `transfer_timeout`.

        Returns:
            The new avatar, with its thumbnail unless `thumbnail_pending` is true.

        Raises:
            InvalidArgumentError: The picture is not accepted, or a field exceeds its limit.
            NotFoundError: The project does not exist or belongs to another user.
            AlreadyExistsError: The `request_id` was used for another upload.
            OSError: The file cannot be read.

        Examples:
            >>> face = client.avatars.upload(
            ...     project, "sarah.jpg", name="Sarah", attributes={"gender": "female"}
            ... )
            >>> print(face.name, face.source_type, face.image.content_type)
            Sarah uploaded image/jpeg
        """
        metadata = requests.upload_avatar(
            project, name, persona, attributes, content_type, defer_thumbnail, request_id
        )
        return self._connection.upload(metadata, PictureSource(picture), on_progress, timeout)

    def get(
        self, avatar: Avatar | str, *, include_links: bool = False, timeout: float | None = None
    ) -> Avatar:
        """Return an avatar.

        Args:
            avatar: Avatar, or its id.
            include_links: True fills `image_url` and `thumbnail_url`.
            timeout: Seconds for all attempts together; None uses the client's `timeout`.

        Raises:
            NotFoundError: The avatar does not exist or belongs to another user.

        Examples:
            >>> face = client.avatars.get(sarah.id)
            >>> print(face.name, face.persona.age)
            Sarah 32
        """
        return self._connection.call(requests.get_avatar(avatar, include_links), timeout)

    def batch_get(
        self,
        avatars: Iterable[Avatar | str],
        *,
        include_thumbnails: bool = False,
        include_links: bool = False,
        timeout: float | None = None,
    ) -> AvatarBatch:
        """Return several avatars by their ids. Missing ids are not an error.

        Args:
            avatars: 1 to 100 ids. Avatars are read again by their ids.
            include_thumbnails: True fills `thumbnail_data`. The client makes further calls for thumbnails
                that do not fit into one response.
            include_links: True fills `image_url` and `thumbnail_url`.
            timeout: Seconds for each call; None uses the client's `timeout`.

        Returns:
            `avatars`, in the order of the ids, and `missing_avatar_ids`.

        Raises:
            InvalidArgumentError: There are no ids, or more than 100, or `avatars` is one id.

        Examples:
            >>> batch = client.avatars.batch_get([sarah, "gone"])
            >>> print([face.name for face in batch.avatars], batch.missing_avatar_ids)
            ['Sarah'] ('gone',)
        """
        result = self._connection.call(
            requests.batch_get_avatars(avatars, include_thumbnails, include_links), timeout
        )
        while result.omitted_thumbnail_avatar_ids:
            further = self._connection.call(
                requests.batch_get_avatars(result.omitted_thumbnail_avatar_ids, include_thumbnails=True),
                timeout,
            )
            requests.add_thumbnails(result, further)
        return requests.avatar_batch(result)

    def list(
        self,
        project: Project | str = "",
        *,
        order: AvatarOrder | AvatarOrderWord | None = None,
        include_thumbnails: bool = False,
        include_links: bool = False,
        page_size: int = 0,
        page_token: str = "",
        user_id: str = "",
        timeout: float | None = None,
    ) -> Items[Avatar]:
        """Return an iterator over all avatars of a project or of the user. `find` has the filters.

        Args:
            project: Only avatars of this project, or of the project with this id; empty means all projects.
            order: Order of the list; None means newest first.
            include_thumbnails: True fills `thumbnail_data`.
            include_links: True fills `image_url` and `thumbnail_url`.
            page_size: Items per page, 1 to 100; 0 means 20.
            page_token: `next_page_token` of an earlier page or of `projects.open`; empty starts at the first
                page.
            user_id: For operators: the owner of the avatars, or `-` for all users. Empty means the caller, or
                the owner of the project.
            timeout: Seconds for each page; None uses the client's `timeout`.

        Returns:
            The avatars; iterating requests the pages one by one.

        Raises:
            InvalidArgumentError: The page token belongs to another list.
            PermissionDeniedError: `user_id` is another user and the token has no operator role.

        Examples:
            >>> for face in client.avatars.list(project, order="last_used_first"):
            ...     print(face.name)
            Sarah
        """
        return self.find(
            project=project,
            order=order,
            include_thumbnails=include_thumbnails,
            include_links=include_links,
            page_size=page_size,
            page_token=page_token,
            user_id=user_id,
            timeout=timeout,
        )

    def find(
        self,
        *,
        project: Project | str = "",
        query: str = "",
        source_types: SourceType | SourceTypeWord | Iterable[SourceType | SourceTypeWord] = (),
        gender: Gender | GenderWord | None = None,
        age_range: AgeRange | AgeRangeWord | None = None,
        ethnicity: str = "",
        style: Style | StyleWord | None = None,
        order: AvatarOrder | AvatarOrderWord | None = None,
        include_thumbnails: bool = False,
        include_links: bool = False,
        page_size: int = 0,
        page_token: str = "",
        user_id: str = "",
        timeout: float | None = None,
    ) -> Items[Avatar]:
        """Return an iterator over all avatars that match every given filter.

        Args:
            project: Only avatars of this project, or of the project with this id; empty means all projects.
            query: Words that must occur in the name, the persona's name or the prompt; at most 200
                characters.
            source_types: Only avatars of this origin, or of one of these; empty means all.
            gender: Only avatars of this gender; None means all.
            age_range: Only avatars of this age range; None means all.
            ethnicity: Only avatars of this ethnicity, ignoring case and accents, at most 60 characters; empty
                means all.
            style: Only avatars of this style; None means all.
            order: Order of the list; None means newest first.
            include_thumbnails: True fills `thumbnail_data`.
            include_links: True fills `image_url` and `thumbnail_url`.
            page_size: Items per page, 1 to 100; 0 means 20.
            page_token: `next_page_token` of an earlier page with the same filters; empty starts at the first
                page.
            user_id: For operators: the owner of the avatars, or `-` for all users. Empty means the caller, or
                the owner of the project.
            timeout: Seconds for each page; None uses the client's `timeout`.

        Returns:
            The avatars; iterating requests the pages one by one.

        Raises:
            InvalidArgumentError: A filter exceeds its limit, or the page token belongs to another list.
            PermissionDeniedError: `user_id` is another user and the token has no operator role.

        Examples:
            >>> for face in client.avatars.find(query="sar", source_types="uploaded"):
            ...     print(face.name)
            Sarah
        """
        return self._list(
            requests.list_avatars(
                project,
                query,
                source_types,
                gender,
                age_range,
                ethnicity,
                style,
                order,
                include_thumbnails,
                include_links,
                user_id,
            ),
            page_token,
            page_size,
            timeout,
        )

    def update(
        self,
        avatar: Avatar | str,
        *,
        name: str | None = None,
        persona: Persona | PersonaFields | None = None,
        attributes: Attributes | AttributesFields | None = None,
        paths: Iterable[str] | None = None,
        expected_revision: int = 0,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> Avatar:
        """Replace the given fields of an avatar and keep the others.

        `persona` and `attributes` are each replaced as a whole; `persona=Persona()` removes the persona.
        `paths` replaces single fields of them: `update(id, persona={"age": 33}, paths=["persona.age"])`
        keeps the persona's name.

        Give the `revision` of the avatar that you read as `expected_revision`, so that the update cannot
        overwrite a change of another program.

        Args:
            avatar: Avatar, or its id.
            name: New name, 1 to 120 characters; None keeps the current one.
            persona: New persona; None keeps the current one.
            attributes: New attributes; None keeps the current ones.
            paths: Paths of the fields to write, for example `persona.age`; None writes all given arguments. A
                path whose field is not given is cleared.
            expected_revision: Revision that the avatar must have; 0 means any.
            request_id: UUID of this logical call; None creates one.
            timeout: Seconds for all attempts together; None uses the client's `timeout`.

        Returns:
            The avatar after the update.

        Raises:
            ValueError: No field is given, or a given field is not in `paths`.
            InvalidArgumentError: A field exceeds its limit.
            NotFoundError: The avatar does not exist or belongs to another user.
            AbortedError: The avatar has another revision, `metadata["current_revision"]`.

        Examples:
            >>> older = client.avatars.update(sarah, persona={"age": 33}, paths=["persona.age"])
            >>> print(older.persona.name, older.persona.age)
            Sarah 33
        """
        return self._connection.call(
            requests.update_avatar(avatar, name, persona, attributes, paths, expected_revision, request_id),
            timeout,
        )

    def delete(self, avatar: Avatar | str, *, timeout: float | None = None) -> None:
        """Delete an avatar and its pictures. The client does not retry it.

        Args:
            avatar: Avatar, or its id.
            timeout: Seconds for the call; None uses the client's `timeout`.

        Raises:
            NotFoundError: The avatar does not exist or belongs to another user.
            UnavailableError: The connection broke; the avatar may be deleted or not.

        Examples:
            >>> client.avatars.delete(sarah)
            >>> try:
            ...     client.avatars.get(sarah)
            ... except NotFoundError as error:
            ...     print(error.reason)
            RESOURCE_NOT_FOUND
        """
        self._connection.call(requests.delete_avatar(avatar), timeout)

    @overload
    def download(
        self,
        avatar: Avatar | str,
        *,
        variant: ImageVariant | ImageVariantWord = ...,
        to: None = None,
        timeout: float | None = None,
    ) -> bytes: ...

    @overload
    def download(
        self,
        avatar: Avatar | str,
        *,
        variant: ImageVariant | ImageVariantWord = ...,
        to: str | os.PathLike[str],
        timeout: float | None = None,
    ) -> Path: ...

    def download(
        self,
        avatar: Avatar | str,
        *,
        variant: ImageVariant | ImageVariantWord = ImageVariant.ORIGINAL,
        to: str | os.PathLike[str] | None = None,
        timeout: float | None = None,
    ) -> bytes | Path:
        """Download a picture of an avatar and check its size and SHA-256.

        Args:
            avatar: Avatar, or its id.
            variant: The original, or the thumbnail: WebP, 300x300 pixels.
            to: Path of the file to write. An existing file is replaced only after the whole picture arrived.
                None returns the bytes instead.
            timeout: Seconds for all attempts together; None uses the client's `transfer_timeout`.

        Returns:
            The bytes of the picture, or the path of the file.

        Raises:
            NotFoundError: The avatar does not exist or belongs to another user.
            FailedPreconditionError: The thumbnail is not ready; try again after `retry_after` seconds.
            DataLossError: The picture arrived damaged.
            OSError: The file cannot be written.

        Examples:
            >>> picture = client.avatars.download(sarah)
            >>> print(len(picture) == sarah.image.size_bytes)
            True
            >>> path = client.avatars.download(sarah, variant="thumbnail", to="small.webp")
            >>> print(path)
            small.webp
        """
        picture = self._connection.download(requests.download_image(avatar, variant), timeout)
        if to is None:
            return picture.data
        path = Path(to)
        self._connection.save(picture.data, path)
        return path

    def upload_many(
        self,
        project: Project | str,
        pictures: Iterable[Picture] | Mapping[str, Picture],
        *,
        concurrency: int = 4,
        on_progress: BatchProgress | None = None,
        timeout: float | None = None,
    ) -> tuple[Outcome[Picture, Avatar], ...]:
        """Create an avatar from each of many pictures, some at the same time.

        A picture that fails does not stop the others. To stop all of them, cancel the task or press Ctrl-C.

        Args:
            project: Project that gets the avatars, or its id.
            pictures: Pictures as `upload` takes them, each named after its file without the suffix; or a
                mapping of names to pictures.
            concurrency: Largest number of uploads at the same time.
            on_progress: Called after each upload with the number of pictures that have ended and the number
                of all. It runs where this method was called.
            timeout: Seconds for each upload; None uses the client's `transfer_timeout`.

        Returns:
            The outcome of each picture, in the order of `pictures`: `result` is the avatar, or raises
            `error`, which is an error of `upload`.

        Raises:
            ValueError: `concurrency` is less than 1.
            InvalidArgumentError: `pictures` is one picture, or a picture has no file name to be named after.

        Examples:
            >>> outcomes = client.avatars.upload_many(project, ["sarah.jpg", "missing.jpg"])
            >>> for outcome in outcomes:
            ...     print(outcome.source, "failed" if outcome.error else outcome.result.name)
            sarah.jpg sarah
            missing.jpg failed
        """
        given, uploads = requests.upload_avatars(project, pictures)

        def upload(connection: Connection, number: int) -> Avatar:
            return connection.upload(uploads[number], PictureSource(given[number]), None, timeout)

        return outcome_of_each(
            self._connection, given, upload, concurrency=concurrency, on_progress=on_progress
        )

    @overload
    def download_many(
        self,
        avatars: Iterable[Avatar | str],
        *,
        to: None = None,
        variant: ImageVariant | ImageVariantWord = ...,
        concurrency: int = ...,
        on_progress: BatchProgress | None = ...,
        timeout: float | None = ...,
    ) -> tuple[Outcome[Avatar | str, bytes], ...]: ...

    @overload
    def download_many(
        self,
        avatars: Iterable[Avatar | str],
        *,
        to: str | os.PathLike[str],
        variant: ImageVariant | ImageVariantWord = ...,
        concurrency: int = ...,
        on_progress: BatchProgress | None = ...,
        timeout: float | None = ...,
    ) -> tuple[Outcome[Avatar | str, Path], ...]: ...

    def download_many(
        self,
        avatars: Iterable[Avatar | str],
        *,
        to: str | os.PathLike[str] | None = None,
        variant: ImageVariant | ImageVariantWord = ImageVariant.ORIGINAL,
        concurrency: int = 4,
        on_progress: BatchProgress | None = None,
        timeout: float | None = None,
    ) -> tuple[Outcome[Avatar | str, bytes], ...] | tuple[Outcome[Avatar | str, Path], ...]:
        """Download a picture of each of many avatars, some at the same time.

        A picture that fails does not stop the others. To stop all of them, cancel the task or press Ctrl-C.

        Args:
            avatars: Avatars, or their ids.
            to: Folder of the files, created if it is missing. A file is named after the id of its avatar,
                with `-thumbnail` if it is one, and replaces an existing file. None returns bytes instead.
            variant: The originals, or the thumbnails.
            concurrency: Largest number of downloads at the same time.
            on_progress: Called after each download with the number of avatars that have ended and the number
                of all. It runs where this method was called.
            timeout: Seconds for each download; None uses the client's `transfer_timeout`.

        Returns:
            The outcome of each avatar, in the order of `avatars`: `result` is the bytes or the path, or
            raises `error`, which is an error of `download`.

        Raises:
            ValueError: `concurrency` is less than 1.
            InvalidArgumentError: `avatars` is one avatar or one id.
            OSError: The folder cannot be created.

        Examples:
            >>> (outcome,) = client.avatars.download_many([sarah], to="portraits")
            >>> print(outcome.result.parent, outcome.result.suffix)
            portraits .jpg
        """
        given, downloads = requests.download_images(avatars, variant)

        def download(connection: Connection, number: int) -> bytes:
            return (connection.download(downloads[number], timeout)).data

        def download_to(connection: Connection, number: int) -> Path:
            picture = connection.download(downloads[number], timeout)
            path = folder / requests.file_name(downloads[number], picture.suffix)
            connection.save(picture.data, path)
            return path

        if to is None:
            return outcome_of_each(
                self._connection, given, download, concurrency=concurrency, on_progress=on_progress
            )
        folder = Path(to)
        make_folder(folder)
        return outcome_of_each(
            self._connection, given, download_to, concurrency=concurrency, on_progress=on_progress
        )
