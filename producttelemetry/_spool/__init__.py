r"""The spool: one bounded queue on disk for one destination, shared by every process of the machine.

Constraints. Any process may be killed before or after any operation, be stopped for minutes, or fork. `append` must
cost one `write` and wait for nobody. Whatever was appended must be delivered, or counted by the reason why not.

The format
----------
::

    <config dir>/spool/v1/<destination>/
        00000017-3fa9.0.15.open        one process appends; 15 slots reserved, filled or not
        00000016-77c0.4096.12.ready    sealed; 12 events from byte 4096 to the end
        00000015-0b1e.0.40.sending     claimed by the sender
        00000018-5d02.0.15.tmp         being created; not part of the queue yet
        lock                           held for microseconds around any change of the set of names
        sender.lock                    held by the one process that sends
        ledger.json                    {"delivered": n, "dropped": {reason: n}}
        retry.json                     the back-off that all processes share
        rejected.jsonl                 what the server refused for good, with its message
        destination.json               {"api_url": ...}; the write key is never on disk
        purged                         empty; replaced by every purge, for those that have no segment to miss
        *.new                          the next content of one of these files, on its way

Everything the queue knows stands in the names; `_record` has their grammar. A rename is the transaction. A segment
holds JSON Lines: a line is one object as the server gets it, ended by a newline. A line is valid if and only if it is
complete, at most 64 KiB of UTF-8 and a JSON object with an `event_id` or a `user_id`; nothing else in the file is
looked at.

The writer (`_writer`, `_segment`)
----------------------------------
1. Slots left in the reservation of the own open segment: one `write` of the whole line. Done.
2. Else take `lock` and list the names. Own segment gone: purged. Own segment large: seal it. Without one: recover
   orphans.
3. The slots add up to the cap: recover orphans, then evict one event from the oldest `ready` or, if there is none,
   from the own segment; with `drop_newest`, or with nothing to evict, refuse.
4. Rename the own segment to a larger number of slots. Without one: have a ledger, so that a full disk cannot keep a
   loss from being counted later; adopt the last `ready` if it is small, or create a segment, lock it and rename it from
   `tmp`; then look at `purged`.

The reader (`_reader`)
----------------------
1. Hold `sender.lock`. Under `lock`: what the previous holder left in `sending`, and every orphan, becomes `ready`; a
   `tmp` whose writer is dead goes.
2. Under `lock`: rename the first `ready` to `sending`; read it without a lock.
3. A batch is taken by the server: count it in the ledger, then rename to the next offset and what is left, or unlink.
4. A failure: rename back to `ready`. A crash anywhere: step 1 of the next holder, and the same bytes again.

The invariants
--------------
1.  One writer. Only the process that opened an `open` segment writes to it: one `write` of one whole line, append-only.
    Others only cut it: a torn line when its writer is dead, everything in a purge.
2.  Alive means locked. The writer holds the OS lock of its open segment from before it has that name, and the kernel
    drops it when the process dies. Whoever gets that lock has found an orphan: cut a torn last line, count, rename to
    `ready`. No timestamp, process id or timer ever decides about ownership.
3.  The cap is strict. Under `lock` the slots in all names add up to at most `max_queue_size`. Writers reserve in small
    steps; an idle segment is sealed and gives its slots back; a full queue evicts its oldest events or refuses the new.
4.  Few files, in order. A writer without a segment adopts the last `ready` one if it is small and nothing but segments
    of living writers comes after it.
5.  The sender claims by renaming, and acknowledges by renaming.
6.  Order comes from the sequence number, never from a clock.
7.  The ledger is rewritten in one step under `lock`, before the events leave: a crash may count twice, but never hides
    a loss of what was accepted. What never entered the queue is told at the next reservation or seal.
8.  Damage is contained. A line that is not valid is skipped and counted as `corrupt`, as is an event that a name
    promised and nobody can find; a promise that no segment can keep is replaced by what is there. A segment that cannot
    be read is passed over, and goes as a whole when a full queue comes to it. Names that do not parse and other format
    versions are left alone; what is in the ledger's place and no file of ours is put aside.
9.  Waiting for a holder of `lock` that does not go on is bounded, and nobody waits twice for the same one. Past the
    bound a writer reserves without it, one step beyond the cap at the most; only when that is used up, or the disk
    fails, does an event wait in memory, within the cap. A process that ends writes down what waits, cap or not, and
    what it is sending from there: twice is better than never.
10. No lock file is ever deleted or renamed.
11. A purge counts and unlinks, also what living writers have open (there it blanks what it has counted), and does not
    depend on getting the lock. They find out with their next event (at their next reservation or seal on a file system
    that hides that an open file was deleted), count what they wrote since as `purged`, and start afresh. A writer that
    is killed before that takes the count of those few events with it; and where the ledger cannot be written, they are
    deleted all the same.

What survives: with `fsync=False` an appended event survives the death of every process, not of the machine; with
`fsync=True` the line and the name of its file are on stable storage before `append` returns. A rename that a power cut
takes back makes an event be sent again, or brings an evicted one back, beyond the cap perhaps; it never loses one.
"""

from __future__ import annotations

from ._directory import DESTINATION, RETRY, SENDER_LOCK, Directory, Survey
from ._ledger import REASONS, Counts, Settled
from ._reader import Claim, Reader
from ._segment import Overflow
from ._writer import VolatileClaim, Writer

__all__ = [
    "DESTINATION",
    "REASONS",
    "RETRY",
    "SENDER_LOCK",
    "Claim",
    "Counts",
    "Directory",
    "Overflow",
    "Reader",
    "Settled",
    "Survey",
    "VolatileClaim",
    "Writer",
]
