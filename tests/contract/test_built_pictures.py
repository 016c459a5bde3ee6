"""Uploads of pictures of any parts: their files and thumbnails are those that the unit tests judge."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar_creator.v1.avatar_service_pb2 import IMAGE_VARIANT_THUMBNAIL, GetAvatarRequest
from avatar_creator_server.images.processing import accept_upload, make_thumbnail
from tests.built_pictures import UploadedPhoto, UploadedPng, jpeg_files, png_files, webp_files
from tests.contract.calls import Calls
from tests.support.service import Deployment
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def photographer(shared_deployment: Deployment) -> Iterator[Calls]:
    """A user with no projects."""
    token = shared_deployment.token(f"photographer-{uuid.uuid4().hex}")
    with Calls(shared_deployment.target, token) as calls:
        yield calls


@settings(max_examples=12, deadline=None, derandomize=True, print_blob=True)
@given(st.one_of(png_files(), jpeg_files(), webp_files()))
def test_a_picture_of_any_parts_is_stored_with_its_colors(
    photographer: Calls, uploaded: UploadedPng | UploadedPhoto
) -> None:
    expected = accept_upload(uploaded.data)
    avatar = photographer.upload(photographer.create_project().id, uploaded.data)
    facts, data = photographer.download(avatar.id)
    assert data == expected.data
    assert (facts.width, facts.height, facts.content_type) == (
        expected.width,
        expected.height,
        expected.content_type,
    )
    request = GetAvatarRequest(avatar_id=avatar.id)
    wait_until(lambda: not photographer.avatars.GetAvatar(request).avatar.thumbnail_pending)
    _, thumbnail = photographer.download(avatar.id, IMAGE_VARIANT_THUMBNAIL)
    assert thumbnail == make_thumbnail(expected.data).data
