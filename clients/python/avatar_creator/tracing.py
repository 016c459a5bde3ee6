"""The trace context of the caller, which OpenTelemetry keeps if the app uses it."""

from __future__ import annotations

import sys


def trace_context() -> tuple[tuple[str, str], ...]:
    """Return the call metadata that makes the call a part of the caller's trace, usually `traceparent`.

    OpenTelemetry's propagators choose the keys: W3C Trace Context and Baggage unless the app set others.
    Without OpenTelemetry the result is empty. Only an app that has imported OpenTelemetry can have a trace,
    so this function does not import it first.
    """
    if "opentelemetry.context" not in sys.modules:
        return ()
    from opentelemetry.propagate import inject

    carrier: dict[str, str] = {}
    inject(carrier)
    return tuple(
        # HTTP/2 has no upper case in keys. A value that metadata cannot carry must not fail the call.
        (key.lower(), value)
        for key, value in carrier.items()
        if value.isascii() and value.isprintable()
    )
