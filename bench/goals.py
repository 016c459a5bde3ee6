"""The table: every measure, its baseline, and its goal."""

from __future__ import annotations

from bench.results import Goal

_NULL = "null call, the same answer"
_SAME_SQL = "bare handler, the same SQL and hop"
_POINT = "read of an avatar"

GOALS: tuple[Goal, ...] = (
    Goal("get-avatar", "GetAvatar, one avatar again and again", _NULL, "≥ 0.75", 0.75),
    Goal("get-avatar-spread", "GetAvatar, 10,000 avatars in turn", _NULL, "≥ 0.38", 0.38),
    Goal(
        "get-avatar-p99",
        "GetAvatar p99 at half load",
        "null call's p99 at its half",
        "≤ 3",
        3,
        more_is_better=False,
    ),
    Goal("list-avatars", "ListAvatars of 20", _NULL, "≥ 0.20", 0.20),
    Goal("batch-get-avatars", "BatchGetAvatars of 20", _NULL, "≥ 0.20", 0.20),
    Goal("create-project", "CreateProject", _SAME_SQL, "≥ 0.80", 0.80),
    Goal("record-usage", "RecordUsage", _SAME_SQL, "≥ 0.80", 0.80),
    Goal("create-generation", "CreateGeneration, one project", _SAME_SQL, "≥ 0.60", 0.60),
    Goal("create-generation-projects", "CreateGeneration, 32 projects", _SAME_SQL, "≥ 0.60", 0.60),
    Goal(
        "generation-seen",
        "CreateGeneration until a watcher sees PROCESSING",
        "the same steps by hand",
        "≤ 3",
        3,
        more_is_better=False,
    ),
    Goal(
        "upload",
        "upload of 5 MiB, 12 MP, with its thumbnail",
        "sink, SHA-256 and decode",
        "≤ 1.3",
        1.3,
        more_is_better=False,
    ),
    Goal(
        "upload-deferred",
        "the same, with the thumbnail deferred",
        "sink, SHA-256 and decode",
        "≤ 1.3",
        1.3,
        more_is_better=False,
    ),
    Goal(
        "thumbnail", "thumbnail of a 12 MP JPEG", "draft decode by hand", "≤ 1.1", 1.1, more_is_better=False
    ),
    Goal("watchers", "one event to 1,000 watchers", "null streams", "≤ 1.15", 1.15, more_is_better=False),
    Goal(
        "watchers-later",
        "the same, after 10,000 calls",
        "null streams",
        "≤ 1.15",
        1.15,
        more_is_better=False,
    ),
    Goal("watcher-memory", "memory of an idle watcher", "null stream", "≤ 1.25", 1.25, more_is_better=False),
    Goal("web-get-avatar", "GetAvatar over Connect", "over gRPC", "≥ 0.35", 0.35),
    Goal(
        "web-get-avatar-p50",
        "GetAvatar over Connect, p50 of a lone call",
        "over gRPC",
        "≤ 2.5",
        2.5,
        more_is_better=False,
    ),
    Goal(
        "web-watcher-memory",
        "memory of a watch over Connect, 1,000 open",
        "over gRPC",
        "≤ 2",
        2,
        more_is_better=False,
    ),
    Goal("workers", "instant provider, 2 workers", "1 worker", "≥ 1.7, or the CPU full", 1.7),
    Goal(
        "generation-cpu",
        "CPU of all processes for a generation of 256x256",
        "",
        "≤ 20 ms",
        20,
        "ms",
        more_is_better=False,
    ),
    Goal("processes", "GetAvatar, serve --processes 2", "--processes 1", "≥ 1.7, or the CPU full", 1.7),
    Goal("idle-statements", "statements of an idle server", "", "≤ 1/s", 1, "/s", more_is_better=False),
    Goal("idle-memory", "RSS of an idle server", "", "≤ 120 MB", 120, "MB", more_is_better=False),
    Goal("import", "import avatar_creator", "import grpc", "≤ 1.4", 1.4, more_is_better=False),
    Goal("claim", "claim, 50,000 due", _POINT, "≤ 3 ms", 3, "ms", more_is_better=False),
    Goal(
        "claim-waiting",
        "claim for a waiting user, 50,000 due",
        _POINT,
        "≤ 3 ms",
        3,
        "ms",
        more_is_better=False,
    ),
    Goal("queue-place", "queue place, 50,000 due", _POINT, "≤ 10 ms", 10, "ms", more_is_better=False),
    Goal(
        "queue-page",
        "queue places of a page of 100, 50,000 due",
        _POINT,
        "≤ 10 ms",
        10,
        "ms",
        more_is_better=False,
    ),
    Goal("estimate", "EstimateGeneration, 50,000 due", _POINT, "≤ 10 ms", 10, "ms", more_is_better=False),
    Goal("last-used", "order by last use, first page", _POINT, "≤ 5 ms", 5, "ms", more_is_better=False),
    Goal("last-used-deep", "order by last use, deep", _POINT, "≤ 5 ms", 5, "ms", more_is_better=False),
    Goal("word-search", "search for an absent word", _POINT, "≤ 20 ms", 20, "ms", more_is_better=False),
    Goal("word-search-rare", "search for a rare word", _POINT, "≤ 20 ms", 20, "ms", more_is_better=False),
    Goal("filter", "filter that matches nothing", _POINT, "≤ 5 ms", 5, "ms", more_is_better=False),
    Goal("generations-state", "generations by state, none", _POINT, "≤ 5 ms", 5, "ms", more_is_better=False),
    Goal("generations-dates", "generations by old dates", _POINT, "≤ 5 ms", 5, "ms", more_is_better=False),
    Goal("usage-rare", "usage of a rare app", _POINT, "≤ 5 ms", 5, "ms", more_is_better=False),
    Goal("usage-deep", "usage, deep page", _POINT, "≤ 5 ms", 5, "ms", more_is_better=False),
    Goal("limits", "limits of a heavy user", _POINT, "≤ 5 ms", 5, "ms", more_is_better=False),
    Goal("statistics", "statistics of all users", _POINT, "≤ 5 ms", 5, "ms", more_is_better=False),
    Goal("list-deep", "ListAvatars, deep page", _POINT, "≤ 5 ms", 5, "ms", more_is_better=False),
    Goal("batch-get", "BatchGetAvatars of 20", _POINT, "≤ 5 ms", 5, "ms", more_is_better=False),
    Goal("summary", "summary of uses", _POINT, "≤ 5 ms", 5, "ms", more_is_better=False),
    Goal("snapshot", "snapshot of a project's watch", _POINT, "≤ 5 ms", 5, "ms", more_is_better=False),
)

BY_NAME = {goal.name: goal for goal in GOALS}
