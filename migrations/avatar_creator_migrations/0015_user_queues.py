"""The queue of each user and priority: its length, its first generation and the time of its turn.

Triggers keep these rows, so that processes of the previous version keep them too. On PostgreSQL the triggers
run at the commit. So a queue stays locked for the shortest time, and after everything else that a transaction
locks.

No lock of this migration on a table is stronger than its first one: a transaction that waits for the first
could hold what a stronger one waits for.
"""

from __future__ import annotations

from typing import Any

from peewee import Database, PostgresqlDatabase

TABLE = """
CREATE TABLE user_queues (
    user_id TEXT NOT NULL,
    priority INTEGER NOT NULL,
    length INTEGER NOT NULL,
    head_id TEXT,
    turn_time {time},
    PRIMARY KEY (user_id, priority)
)
"""

INDEX = (
    "CREATE INDEX user_queues_turns ON user_queues (priority, turn_time, head_id) WHERE head_id IS NOT NULL"
)

TURN_TIME = """
{latest}(head.create_time, COALESCE(
    CASE head.priority WHEN 0 THEN turn.claim_time WHEN 1 THEN turn.normal_claim_time
    ELSE turn.bulk_claim_time END,
    head.create_time
))
"""

QUEUED = """
({row}.due_time IS NOT NULL AND {row}.state = 'pending'
    AND ({row}.due_time <= {row}.update_time OR {row}.delay_over))
""".strip()

FILL = """
INSERT INTO user_queues (user_id, priority, length, head_id, turn_time)
SELECT unfinished.user_id, unfinished.priority, unfinished.length, head.id, {turn_time}
FROM (
    SELECT user_id, priority, COUNT(*) FILTER (WHERE {queued}) AS length,
        MIN(id) FILTER (WHERE {queued}) AS head_id
    FROM avatar_generations AS generation WHERE due_time IS NOT NULL GROUP BY user_id, priority
) AS unfinished
LEFT JOIN avatar_generations AS head ON head.id = unfinished.head_id
LEFT JOIN claim_turns AS turn ON turn.user_id = head.user_id
"""
"""An empty queue has a row too. Two sweepers that add rows for the same users could deadlock."""

ADD_QUEUE = """
    INSERT INTO user_queues (user_id, priority, length) VALUES ({row}.user_id, {row}.priority, 0)
    ON CONFLICT (user_id, priority) DO NOTHING;
"""

CHANGE_QUEUE = """
    UPDATE user_queues SET length = length + {difference}, (head_id, turn_time) = (
        SELECT head.id, {turn_time}
        FROM avatar_generations AS head LEFT JOIN claim_turns AS turn ON turn.user_id = head.user_id
        WHERE head.user_id = user_queues.user_id AND head.priority = user_queues.priority
            AND {queued}
        ORDER BY head.id LIMIT 1
    ) WHERE user_id = {row}.user_id AND {which};
"""

CHANGES = {
    "inserted": ("INSERT", "{new}", "NEW", "1"),
    "ended": ("DELETE", "{old}", "OLD", "-1"),
    "left": ("UPDATE", "{old} AND NOT {new}", "NEW", "-1"),
    "joined": ("UPDATE", "{new} AND NOT {old}", "NEW", "1"),
    "moved": ("UPDATE", "{old} AND {new} AND OLD.create_time <> NEW.create_time", "NEW", "0"),
}
"""Changes of a generation: event, condition, row, and difference of the queue's length."""

TURN_CHANGED = """
head_id IS NOT NULL AND CASE priority WHEN 0 THEN OLD.claim_time {differs} NEW.claim_time
    WHEN 1 THEN OLD.normal_claim_time {differs} NEW.normal_claim_time
    ELSE OLD.bulk_claim_time {differs} NEW.bulk_claim_time END
"""

FUNCTION = """
CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- All queues of the user, in one order, because two transactions may change several of them.
    PERFORM 1 FROM user_queues WHERE user_id = {row}.user_id ORDER BY priority FOR UPDATE;
{body}
    RETURN NULL;
END
$$
"""

POSTGRESQL_TRIGGER = """
CREATE CONSTRAINT TRIGGER {name} AFTER {event} ON {table} DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION {name}()
"""

SQLITE_TRIGGER = """
CREATE TRIGGER {name} AFTER {event} ON {table} FOR EACH ROW WHEN {condition}
BEGIN
{body}
END
"""


def up(migrator: Any, db: Database) -> None:
    """Fill the table and add the triggers while others only read."""
    is_postgresql = isinstance(db, PostgresqlDatabase)
    turn_time = TURN_TIME.format(latest="GREATEST" if is_postgresql else "MAX").strip()
    db.execute_sql(TABLE.format(time="TIMESTAMPTZ" if is_postgresql else "TEXT"))
    db.execute_sql(INDEX)
    if is_postgresql:
        db.execute_sql("LOCK TABLE avatar_generations, claim_turns IN SHARE ROW EXCLUSIVE MODE")
    db.execute_sql(FILL.format(turn_time=turn_time, queued=QUEUED.format(row="generation")))

    def change_queue(row: str, difference: str, which: str) -> str:
        queued = QUEUED.format(row="head")
        return CHANGE_QUEUE.format(
            row=row, difference=difference, which=which, turn_time=turn_time, queued=queued
        )

    new, old = QUEUED.format(row="NEW"), QUEUED.format(row="OLD")
    for change, (event, condition, row, difference) in CHANGES.items():
        add = ADD_QUEUE.format(row=row) if difference == "1" else ""
        _add_trigger(
            db,
            f"user_queues_{change}",
            event=event,
            table="avatar_generations",
            condition=condition.format(new=new, old=old),
            row=row,
            body=add + change_queue(row, difference, f"priority = {row}.priority"),
        )
    # A claim of a lost worker's generation changes the turn, and no queue.
    turn_changed = TURN_CHANGED.format(differs="IS DISTINCT FROM" if is_postgresql else "IS NOT").strip()
    _add_trigger(
        db,
        "user_queues_turn",
        event="UPDATE",
        table="claim_turns",
        condition="TRUE",
        row="NEW",
        body=change_queue("NEW", "0", turn_changed),
    )


def _add_trigger(
    db: Database, name: str, *, event: str, table: str, condition: str, row: str, body: str
) -> None:
    if isinstance(db, PostgresqlDatabase):
        db.execute_sql(FUNCTION.format(name=name, row=row, body=body))
        trigger = POSTGRESQL_TRIGGER
    else:
        trigger = SQLITE_TRIGGER
    db.execute_sql(trigger.format(name=name, event=event, table=table, condition=condition, body=body))
