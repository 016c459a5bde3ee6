"""What makes two requests the same logical call."""

from __future__ import annotations

import hashlib

from google.protobuf.message import Message

from avatar_creator_server.api.access import current_caller
from avatar_creator_server.shared.idempotency import RequestKey


def request_key(method: str, request_id: str, body: Message, content: bytes = b"") -> RequestKey:
    """The key of a call: its user, method and `request_id`, and a hash of all else it asks for.

    `body` is the message that carries the `request_id`; `content` what was sent beside it.
    """
    without_id = type(body)()
    without_id.CopyFrom(body)
    without_id.ClearField("request_id")
    digest = hashlib.sha256(without_id.SerializeToString(deterministic=True))
    digest.update(hashlib.sha256(content).digest())
    return RequestKey(current_caller().user_id, method, request_id.lower(), digest.hexdigest())
