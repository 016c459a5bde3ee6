"""The request of each call, and the part of its response that the client returns.

An argument that is None was not given. A missing `request_id` is created here, once per logical call, so that
all attempts carry the same id.
"""
