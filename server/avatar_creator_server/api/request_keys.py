"""Request keys: they identify repetitions of the same logical call."""

from __future__ import annotations

import hashlib

from google.protobuf.message import Message

from avatar_creator_server.api.access import current_caller
from avatar_creator_server.shared.idempotency import RequestKey

_SHA256_OF_NOTHING = hashlib.sha256().digest()


def request_key(
    method: str, request_id: str, body: Message, content_sha256: bytes = _SHA256_OF_NOTHING
) -> RequestKey:
    """Return the key of the current call: user, method, `request_id` and a hash of everything else in it.

    Args:
        method: Name of the RPC.
        request_id: The caller's id of the logical call.
        body: Message that has the field `request_id`.
        content_sha256: SHA-256 of the bytes that the call sends in addition to `body`.
    """
    if not request_id:
        return RequestKey(current_caller().user_id, method, "", "")
    without_id = type(body)()
    without_id.CopyFrom(body)
    without_id.ClearField("request_id")
    digest = hashlib.sha256(without_id.SerializeToString(deterministic=True))
    digest.update(content_sha256)
    return RequestKey(current_caller().user_id, method, request_id.lower(), digest.hexdigest())
