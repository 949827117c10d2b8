"""Every bound of the system, with its unit and its reason.

``Limits`` is frozen; the server makes one from its traits and passes it in. A client learns the ones that concern it
from ``Welcome``. Constants below it are facts of the format, the same for all.
"""

from __future__ import annotations

from dataclasses import dataclass

SITE_MAX = 2**32 - 1
"""Sites are 32 bits, as Yjs client ids are; 0 is reserved for shared containers."""
COUNTER_MAX = 2**53 - 1
"""Counters and seqs are exact in a JavaScript number."""
HLC_MAX = 2**64 - 1
INT_MIN, INT_MAX = -(2**63), 2**63 - 1
"""Integers of live values are 64-bit."""
YJS_CLOCK_MAX = 2**31 - 1
"""Yjs clocks stay below what every Yjs implementation reads as a positive 32-bit number."""
ORDER_KEY_BYTES_MAX = 256
"""An order key; lifted and translated ones too, which lose their middle part over it."""
ORDER_KEY_REBALANCED_BYTES = 64
"""Siblings with a longer key are rekeyed: far over what editing makes (12 to 40), far below what still fits."""
BLOCK_DEPTH_MAX = 1000
"""Levels above a block below which something is put: what judging one operation walks at most. People nest a dozen, and
a paragraph for each that they merged upwards one by one."""
RESTORE_OFFERED_MS = 5000
"""Who wrote in a block that somebody else deleted at most so long before or after is told, and may bring it back: long
enough for a slow line, short enough that he knows what he wrote."""
BLOCK_TYPE_BYTES_MAX = 64
"""The type of a block, UTF-8: a word or two, kept for every block."""
PARTITION_BLOCKS_MAX = 200
"""Blocks that are sent together to whoever looks at one of them: with usual texts about 60 kB when they are first seen,
and a screen shows 30 or 50."""
PARTITION_BLOCKS_MIN = 50
"""... and the fewest that a document is cut into: each partition that somebody sees costs a frame a flush."""
VIEWPORT_BLOCKS_MAX = 500
"""Blocks that a viewport names: ten screens of them."""
VIEWPORT_INTERVAL_MS = 500
"""A client names another viewport at most this often, the last one wins: a scroll passes what nobody reads."""
PRESENCE_INTERVAL_MS = 250
"""A client sends what it shows of itself at most this often, the last one wins: a cursor that moves four times a second
is seen to move, and all of a cursor's way is nobody's."""
CLUSTER = 10
"""Sessions in one block whose every move others are told of: more names nobody reads in one paragraph."""
CONTENTS_KEPT_BYTES = 8 << 20
"""Contents of blocks that a room keeps as they were encoded: those of a long document that many look at."""
VIEWPORT_PARTITIONS_KEPT = 4
"""Partitions that a session goes on being sent, those in its viewport included: a screen is in one or two, and to
scroll back costs nothing. With 8, what a thousand who wander are sent grew by half within a minute."""
WARM_TEXTS = 2000
"""Texts of blocks that a room keeps ready to be edited, those edited last: 7 kB each. The others are bytes. With 500 of
them, making texts ready took a tenth of the processor where 700 people and 100 agents worked on 2,000 blocks."""
COLD_TEXT_BYTES = 4 << 10
"""A text of a block that is longer stays ready: this one is again in 0.1 ms, or 1 ms if it was typed by the letter."""
READY_TEXT_BYTES = 64 << 10
"""A text of a block that is longer is made ready when its room is loaded; others when they are first edited, for up to
1 ms a ``COLD_TEXT_BYTES``: to make all texts of a long document ready that was worked in takes seconds."""
LISTEN_BACKLOG = 4096
"""Who connects and is not accepted yet; Linux takes as many by default. A class of 200 that opens one notebook is over
Tornado's 128: the others' systems knock again after a second."""
UPGRADES_AT_ONCE = 8
"""WebSockets that are let in in one turn of the event loop: a millisecond each, in which nobody's edit is read."""
FREE_SITES_MAX = 1000
"""Sites that are counted as free at once: so many joins ask once."""
READ_ROWS_MAX = 5000
"""Operations in a chunk of the log: about 20 ms of a reader's thread."""
READ_BYTES_MAX = 4 << 20
"""Payloads in a chunk of the log, but for one that is larger: 5,000 of 256 KiB would be more than a gigabyte."""
PURGED_IDS = 1000
"""Slots that one operation purges, and keys and blocks about: of a list that had 100,000 it is 30 to 50 ms of a room's
task, and of everybody's who is in it."""
PURGES_AT_ONCE = 20
"""Operations in one envelope that purges: each looks at all keys of its map, all slots of its list, or all blocks."""
FILE_BASE_BYTES = 8 << 20
"""A file's content at its last save is kept up to this, for a three-way merge; above, disk and document are merged by
two. Notebooks over it are mostly images, and a directory of such files would fill the database."""
SAVE_INTENTS = 8
"""Saves of a file that were begun and not recorded, kept so that one which lands late is known for ours."""
FILE_DELETED_KEPT_MS = 30 * 86_400_000
"""A deleted file keeps its id for a month, in case it comes back."""
LEASE_EXPIRED_KEPT_MS = 86_400_000
"""A lease that nobody released is forgotten a day after it has expired."""
FILE_PATH_BYTES = 4096
"""A file's path, UTF-8: what Linux takes."""
VERSIONS_PER_ROOM = 50
"""Versions of a room's timeline. Over it those without a name are thinned, more the older they are."""
VERSIONS_BYTES = 64 << 20
"""... and their bytes, compressed."""
VERSION_NAME_BYTES = 512
"""A version's name, UTF-8: a line of words."""
BLOCK_SPEC_DEPTH_MAX = 64
"""Levels of blocks in a plain tree that is checked, or written with its nesting: under Python's recursion limit."""
BLOCK_TYPES_MAX = 256
"""Types of blocks in a registry: ours are 16, and a package brings a handful."""
BLOCK_PROPERTIES_MAX = 64
"""Properties of one block."""
BLOCK_PROPERTY_BYTES = 200 << 10
"""A property of a block, UTF-8: a value of a room (``value_bytes``) with some of its envelope to spare."""
MARKDOWN_BYTES = 2 << 20
"""Markdown that is read at once, UTF-8: a book; a megabyte takes a second or two, and hostile markup thirty."""
MARKDOWN_DEPTH = 60
"""Levels that are read as blocks, a quote one, a list item two; what is deeper is kept as its source. With a table in
it that makes ``BLOCK_SPEC_DEPTH_MAX``."""
MARKDOWN_INLINE_BYTES = 16 << 10
"""Markup of one paragraph that is read as marks, without its backslashes; a longer one is kept as its source,
for the time that hostile markup takes grows faster than its length."""
ID_MAP_WORDS = 60
"""Words of a block by which it is found again once it was changed."""
ID_MAP_GAP_BLOCKS = 200
"""Changed blocks next to one another that are compared each with each: 40,000 pairs of a few us."""
NOTEBOOK_BYTES = 64 << 20
"""A notebook file that is read as blocks: its figures may be large."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one server allows. Sizes in bytes, times in milliseconds unless the name says otherwise."""

    frame_bytes: int = 1 << 20
    """A frame from a client: a paste of a megabyte fits, and 1,000 hostile clients cost at most a gigabyte."""
    server_frame_bytes: int = 32 << 20
    """A frame to a client: a snapshot of a full room fits."""
    key_bytes: int = 1024
    """A map key, UTF-8: names, not contents."""
    value_bytes: int = 256 << 10
    """A scalar value or one text update: larger things belong in files."""
    envelope_ops: int = 3000
    """Operations in one envelope (a batch): applied in one go, for at most about 0.1 s: 15 us for a key that is set, 35
    for a text that is made and typed in."""
    shared_name_bytes: int = 256 << 10
    """Keys of the shared containers that one envelope makes: naming them takes 0.1 to 0.2 us a byte."""
    text_work: int = 1 << 30
    """Cuts in texts times their bytes, of one envelope: about a fifth of a second (``room/text_work.py``)."""
    room_bytes: int = 10 << 20
    """Live contents of a room, tombstones included: the free tier's snapshot size."""
    depth: int = 64
    """Nesting of live values: far over what people build, far under Python's recursion limit."""
    presence_bytes: int = 4 << 10
    """A session's presence or one broadcast event, as JSON."""
    ops_per_s: int = 2000
    """Operations a second a session, averaged over ``ops_burst``; a fast script with batches stays under it."""
    ops_burst: int = 20_000
    """Operations that a session may send at once: the offline queue of a day's typing."""
    refused_ops: int = 20
    """What a refused envelope is charged on top: half of it was applied and taken back, and the refusal is stored."""
    resent_ops: int = 5
    """What a resent envelope is charged: the log is asked for it."""
    in_flight_ops: int = 500
    """Operations of a room that wait for the log, a commit of 10 or 20 ms; while there are more, what sessions send
    waits where keystrokes overtake batches: behind them in the log they would wait for all of these."""
    in_flight_bytes: int = 32 << 20
    """Operations of a room that wait for the log; over it sessions are told to send again later."""
    events_per_s: int = 100
    """Presence updates and broadcasts a second a session: the SDK sends 4."""
    frames_per_s: int = 1000
    """Frames a second a session, whatever they hold: Tornado spends about 50 us on each."""
    frame_bytes_per_s: int = 2 << 20
    """Bytes of frames a second a session, twice that at once; over it the socket is not read for a while."""
    sessions_per_room: int = 2000
    """Sessions in one room: twice the design's 1,000 editors."""
    sessions_per_actor: int = 500
    """Sessions of one user on a server, each with the allowances above: a classroom that shares a login."""
    joins_per_s: int = 20
    """Connections a second of one user, averaged over ``joins_burst``: each costs a row and a snapshot."""
    joins_burst: int = 2000
    """Connections that a user may make at once: a classroom's scripts that come back after a restart."""
    rooms_per_server: int = 10_000
    """Rooms loaded at once."""
    session_queue_bytes: int = 4 << 20
    """High mark of a session's outgoing queue; over it the session is lagging and its queue is dropped (ops are caught
    up from the log when it drains)."""
    session_queue_low_bytes: int = 1 << 20
    """Low mark: under it a lagging session is caught up."""
    lagging_max_ms: int = 60_000
    """A session lagging longer is closed with ``slow-consumer``; it may resume."""
    room_inbox_events: int = 4096
    """Events waiting for a room's task; a session that finds it full is not read until there is room."""
    room_inbox_bytes: int = 16 << 20
    """... and their bytes; one session has at most a frame's worth there."""
    commit_batch_ops: int = 5000
    """Operations in one commit, so that one commit stays in the tens of milliseconds."""
    commit_batch_bytes: int = 8 << 20
    """... and about this much of their contents."""
    storage_slow_ms: int = 5000
    """A commit that takes longer is told to everybody as a database that does not answer, until it does."""
    storage_retry_min_ms: int = 250
    """A database that does not answer is asked again after this, at first ..."""
    storage_retry_max_ms: int = 5000
    """... and no less often than this: one question of a server, however many rooms wait. It doubles in between."""
    commit_tick_ms: int = 10
    """Commits of a busy server are this far apart at most; others follow each other at once."""
    log_read_pause_ms: int = 10
    """A room reads what others stored at most so often, once for all that waits for it, as the first edit of an author
    in a JupyterLab document does where several servers may share the database."""
    flush_tick_min_ms: int = 0
    flush_tick_max_ms: int = 100
    """The flush tick is at once when idle and at most this under load."""
    presence_tick_ms: int = 100
    catch_up_ops: int = 5000
    """A reader further behind than this gets a snapshot rather than the operations."""
    ring_bytes: int = 8 << 20
    """Recent operation frames that a room keeps in memory for catch-up."""
    snapshot_ops: int = 500
    """Operations after which a snapshot is due ..."""
    snapshot_age_ms: int = 600_000
    """... or this long after the first operation since the last one ..."""
    snapshot_min_interval_ms: int = 60_000
    """... but no more often than this a room."""
    snapshot_log_bytes: int = 256 << 10
    """A document's snapshot is due as well when its log has grown by so much on the disk, or by the document's own size
    where that is more: then snapshots at most double what is written."""
    snapshot_log_interval_ms: int = 250
    """... but no more often than this: each takes a few syncs of the disk."""
    snapshot_cpu_percent: int = 10
    """Share of one core that a server spends on the snapshots of live rooms, which are folded from their logs: 3,000
    operations a second; a fourth of it while the server has no time. Whoever works in a room that has more of them
    finds a longer log when it opens."""
    compact_cpu_percent: int = 5
    """Share of one core that a server spends on its documents' snapshots, and on compacting rooms."""
    compact_grace_ms: int = 600
    """The log below a snapshot stays for this long where other servers may read it: three polls."""
    history_days: int = 30
    """For so many days a room can be shown as it was at every operation. Once a day what is older is compacted: the
    last state of each hour of work stays, and the operations go. 0 keeps all of them for ever."""
    compact_from_hour: int = 0
    """Rooms are compacted from this hour of the server's day ..."""
    compact_to_hour: int = 24
    """... to this one; 22 to 6 is the night."""
    compact_ops: int = 1000
    """A log is compacted when at least so many of its operations go: all that stays is folded for the check."""
    purge_least: int = 1000
    """What was deleted for ``history_days`` is purged when it is so many slots, keys and blocks: 30 kB of a snapshot
    or more, for which whoever was away must look what is left of what he did."""
    version_interval_ms: int = 3_600_000
    """A document that is edited gets a version without a name no more often than this."""
    timeline_step_ms: int = 1000
    """Edits this close are one step of a document's timeline: people type faster than they look back."""
    histories_at_once: int = 2
    """Timelines that a server reads, or brings to a step, and past states of rooms that it makes, at a time each: what
    one takes in memory is a document's log, or a room."""
    histories_waiting: int = 20
    """... and that wait for it; who asks then is told to come back."""
    keeper_tick_ms: int = 100
    """The keeper of a room's documents looks no more often than this: what crosses together is mended together."""
    keeper_blocks_per_s: int = 500
    """Blocks a second that a keeper looks at or gives new keys, averaged over ``keeper_blocks_burst``: at about 40 us
    each that is a fiftieth of a core a room, whatever sessions do to call for more ..."""
    keeper_blocks_burst: int = 5000
    """... and at once: a long document when its room was just loaded. A text in more blocks is left as it is."""
    keeper_blocks_per_tick: int = 250
    """... but no more in one go, about 10 ms of the room's task, unless one text alone is in more."""
    keeper_ops: int = 500
    """Operations in one envelope of a keeper; the rest goes into the next."""
    keeper_rounds: int = 10
    """Envelopes in a row in which a keeper mends one text before anybody else has written: two or three do."""
    keeper_lease_ms: int = 30_000
    """One server at a time keeps a room; of one that died, another takes over after this."""
    keeper_ask_ms: int = 3_000
    """A server that finds something to mend, and is told that another keeps the room, asks again after this: mostly the
    other one mends it at once, and nothing is left; or it was about to leave."""
    rekeyed_siblings: int = 20_000
    """Siblings that are given new keys in one operation, of some 30 bytes each; more are left as they are."""
    merged_kept_ms: int = 600_000
    """What was merged and is empty goes to the trash after this: nobody who is connected has still to see the merge
    then. What others type there comes back."""
    past_ops: int = 500_000
    """Operations that are folded for one past state of a room, in 5 to 10 s of a thread; a snapshot cuts them short."""
    past_states_bytes: int = 32 << 20
    """Past states that are kept: three or so of a full room, hundreds of small ones."""
    authors_asked: int = 5000
    """Operations, and as many sites, whose authors are asked for at once."""
    room_idle_ms: int = 60_000
    """A room without sessions is unloaded after this."""
    stamp_ahead_ms: int = 2000
    """An author's stamp further ahead of the server's clock is lowered."""
    hello_timeout_ms: int = 10_000
    """A socket that has not said Hello by then is closed."""
    ticket_ttl_ms: int = 60_000
    """An auth ticket is used within this, or never."""
    tickets_outstanding: int = 10_000
    """Unspent tickets kept; the oldest go first."""
    sites_per_room: int = 100_000
    """Sites ever seen in a room, but for those that wrote nothing; each costs a row of about 100 bytes."""
    pending_envelopes: int = 100_000
    """Unacknowledged envelopes that a client replica holds while offline."""
    undo_steps: int = 200
    """Steps that a client's history keeps."""
    reconnect_min_ms: int = 100
    reconnect_max_ms: int = 10_000
    """Back-off of a client's reconnects, with full jitter."""
    connect_timeout_ms: int = 10_000
    """Waiting for an upgrade and its Welcome."""
    shutdown_ms: int = 1500
    """From SIGTERM to the last socket closed, flushes included: exit stays under two seconds."""
    viewport_blocks_per_s: int = 2000
    """Blocks a second that a session names or is sent the contents of, averaged over ``viewport_blocks_burst``: each
    takes the server about 10 us."""
    viewport_blocks_burst: int = 20_000
    """... and at once: a fast scroll through a book."""
    resyncs_per_minute: int = 30
    """Snapshots that one session may ask for."""
    document_frame_bytes: int = 64 << 20
    """A frame of the Yjs protocol: a notebook with its figures comes as one update when it is first synced."""
    document_bytes: int = 256 << 20
    """A document's state, about; over it whoever adds to it is made receive-only."""
    document_bytes_per_s: int = 8 << 20
    """Bytes of frames a second of one socket of a document, twice that at once: cells print more than people type."""
    document_work_ms_per_s: int = 250
    """Of a second, what the frames of one socket of a document may keep the processor; over it the socket is not read
    for a while. A megabyte of small structs is seconds of work."""
    document_work_burst_ms: int = 5000
    """... and what they may at once: a notebook of thousands of cells that is pasted, or comes back from offline."""
    document_thread_bytes: int = 16 << 10
    """A frame of a document over this is judged and applied in a thread: it may hold thousands of structs, of 20 us."""
    document_answers_bytes_per_s: int = 2 << 20
    """What one socket's steps 1 may be answered with, 64 MB at once; a page asks once. Over it it is closed."""
    awareness_bytes: int = 16 << 10
    """One client's awareness state as JSON: a few hundred cursors."""
    awareness_clients: int = 8
    """Client ids that one socket may speak for: a page has one, and another after it forked its document."""
    ban_ms: int = 30_000
    """Who sent a hostile update may not open that document again for so long."""
    execute_queue_cells: int = 1000
    """Cells that wait for one kernel: "Run All" of a long notebook."""
    execute_write_ms: int = 100
    """How often what a running cell shows is written into its notebook, at most: as often as people see."""
    execute_bytes_per_s: int = 1 << 20
    """Outputs of one kernel's cells into their notebooks, ``cell_outputs_bytes`` at once: they go into the log, and to
    every reader."""
    output_inline_bytes: int = 512 << 10
    """One output, or one stream of text, in a notebook: most figures fit. A larger one is put into a file."""
    cell_outputs_bytes: int = 4 << 20
    """All outputs of one cell in its notebook."""
    cell_outputs: int = 1000
    """... and how many: what a browser can still lay out."""
    output_file_bytes: int = 256 << 20
    """The largest file of an output; a longer text is cut."""
    output_files_bytes: int = 2 << 30
    """All files of outputs; over it those longest not looked at are removed."""
