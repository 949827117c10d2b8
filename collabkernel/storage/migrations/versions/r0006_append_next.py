"""PostgreSQL: the append of envelopes that are what their sites send next, in one statement."""

from __future__ import annotations

from alembic.operations import Operations

revision = "0006"
down_revision = "0005"

# The rules are those of ``storage/append.py``, for the plain case alone. The rooms are locked by a statement of their
# own, in the order of their keys; the next one sees what was committed until then.
APPEND_NEXT = """
CREATE FUNCTION collab_append_next(
    p_room text[], p_site bigint[], p_epoch bigint[], p_counter bigint[], p_ops bigint[], p_base bigint[],
    p_hlc bigint[], p_actor text[], p_envelope bigint[], p_nth bigint[], p_kind integer[], p_payload bytea[],
    p_now_ms bigint
) RETURNS bigint[] LANGUAGE plpgsql AS $body$
DECLARE
    first_seqs bigint[];
BEGIN
    PERFORM 1 FROM rooms WHERE id = ANY (p_room) ORDER BY key FOR UPDATE;
    WITH asked AS (
        SELECT a.*,
            CAST(sum(a.ops) OVER (PARTITION BY a.room ORDER BY a.n) - a.ops AS bigint) AS room_before,
            CAST(sum(a.ops) OVER (PARTITION BY a.room, a.site ORDER BY a.n) - a.ops AS bigint) AS site_before
        FROM unnest(p_room, p_site, p_epoch, p_counter, p_ops, p_base, p_hlc, p_actor) WITH ORDINALITY
            AS a(room, site, epoch, counter, ops, base, hlc, actor, n)
    ), heads AS (
        SELECT r.key, r.id, r.seq, s.site, s.epoch, greatest(
            s.refused_counter, s.dropped_counter,
            (SELECT max(o.counter) FROM ops AS o WHERE o.room = s.room AND o.site = s.site)
        ) AS last_counter
        FROM (SELECT DISTINCT room, site FROM asked) AS d
        JOIN rooms AS r ON r.id = d.room AND r.standing = 0
        JOIN sites AS s ON s.room = r.key AND s.site = d.site AND NOT s.closed
    ), placed AS (
        SELECT a.*, h.key, h.seq + a.room_before + 1 AS first_seq, coalesce(bool_and(
            h.epoch = a.epoch AND a.counter = h.last_counter + a.site_before + 1
        ) OVER () AND count(h.key) OVER () = count(*) OVER (), false) AS is_plain
        FROM asked AS a LEFT JOIN heads AS h ON h.id = a.room AND h.site = a.site
    ), grown AS (
        UPDATE rooms AS r SET seq = g.seq, hlc = greatest(r.hlc, g.hlc), updated_ms = p_now_ms
        FROM (
            SELECT key, max(first_seq + (ops - 1)) AS seq, max(hlc + (ops - 1)) AS hlc
            FROM placed WHERE is_plain GROUP BY key
        ) AS g WHERE r.key = g.key
    ), stored AS (
        INSERT INTO ops (room, seq, site, counter, first_counter, base, hlc, actor, kind, payload)
        SELECT e.key, e.first_seq + o.nth, e.site, e.counter + o.nth, e.counter, e.base, e.hlc + o.nth, e.actor,
            o.kind, o.payload
        FROM unnest(p_envelope, p_nth, p_kind, p_payload) AS o(envelope, nth, kind, payload)
        JOIN placed AS e ON e.n = o.envelope
        WHERE e.is_plain
    )
    SELECT array_agg(first_seq ORDER BY n) FILTER (WHERE is_plain) INTO first_seqs FROM placed;
    RETURN first_seqs;
END
$body$
"""


def upgrade(op: Operations) -> None:
    """Make the function where there are functions."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(APPEND_NEXT)
