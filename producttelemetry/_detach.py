"""Leave a process behind that delivers the events, without anybody noticing.

Guarantees: the host's exit takes the time of one `posix_spawn`. The child has a session of its own, the null device for
its three standard streams and no other descriptor of the host, so a pipe that the host wrote to ends with the host. The
write key comes over a pipe, never in argv. At most one per queue (`sender.lock`), none during back-off; it reads
consent before every request, lingers while commands follow each other, ends within a minute whatever the server does,
and starts nothing itself. What this process was sending itself, in a thread that ends with it, is its to send as well.

This module runs in the host and imports next to nothing; what the child runs is `_detached`.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from . import _config
from . import _files as files
from ._lock import Lock
from ._spool import SENDER_LOCK

if TYPE_CHECKING:
    from ._sender import Sender

#: Where this package is, as the host found it.
_HERE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
#: What the child does not need to be told again by the environment.
_NOT_INHERITED: Final = ("OPS_WRITE_KEY", "OPS_API_URL")
#: What a pipe takes without a reader on every platform, in bytes.
_PIPE_BYTES: Final = 4096 if sys.platform == "win32" else 16384

_BOOT: Final = (
    "import sys,json;path,*arguments=json.load(sys.stdin.buffer);sys.path[:]=path;"
    f"from {__package__}._detached import main;main(*arguments)"
)


class Task(NamedTuple):
    """What a detached sender has to know.

    Attributes:
        write_key: goes over the pipe.
        api_base: base of all requests.
        config_dir: the client's, not the one that the environment would give now.
        config_files: whose consent counts.
        spool: directory of the destination.
    """

    write_key: str
    api_base: str
    config_dir: str
    config_files: tuple[str, ...]
    spool: str

    def __repr__(self) -> str:
        return f"Task(spool={self.spool!r})"  # the others may hold secrets


def possible() -> bool:
    """Whether a process started here would live on and find this package."""
    # Embedding programs put their own path there, and must not be started a second time.
    name = sys.executable or ""
    # A relative one would be looked for in the working directory, which anybody may have filled.
    interpreter = os.path.isabs(name) and os.path.basename(name).lower().startswith(("python", "pypy"))
    frozen = getattr(sys, "frozen", False) or "__compiled__" in globals()
    return interpreter and not frozen and os.getpid() != 1 and not _config.in_ci() and _config.test_dir() is None


def start(task: Task, own: Sender) -> bool:
    """Have the queue sent after this process has ended; False if this process has to send it itself.

    A process is started unless another is sending already, or a back-off forbids it: whoever comes next sends then.

    `sender.lock` is taken here and goes to the child with its descriptor: two commands that end at the same moment
    start one sender, although the child needs a while before it can take a lock by itself. If we are sending ourselves,
    in a thread that ends with this process, the child waits for that and goes on.

    Args:
        task: what to do.
        own: the sender of this process for the same spool.
    """
    if not possible():
        return False
    if own.waits():
        return True
    lock = Lock(os.path.join(task.spool, SENDER_LOCK))
    try:
        if lock.acquire(0.0):
            return _hand_over(task, lock)
        # In this order: our thread may have given the lock back meanwhile, and then has sent everything.
        return not own.sending or _hand_over(task, None)
    except OSError:  # the interpreter has gone, or there may be no more processes or descriptors
        return False
    finally:
        lock.forget()  # closed and not unlocked: the child holds it now


def _hand_over(task: Task, lock: Lock | None) -> bool:
    # Relative entries mean another place by now: the host may have changed to a directory that anybody can write to.
    path = [place for place in sys.path if isinstance(place, str) and os.path.isabs(place)]
    holds = (-1, os.getpid()) if lock is None else (_LOCK, 0)
    message = json.dumps(([*path, _HERE], task._asdict(), *holds)).encode()
    if len(message) > _PIPE_BYTES:
        return False
    reader, writer = os.pipe()
    try:
        whole = _fill(writer, message)
        if whole:
            flags = "-IB" if sys.dont_write_bytecode else "-I"
            _spawn([sys.executable, flags, "-c", _BOOT], reader, lock)
    finally:
        os.close(reader)
    return whole


def _fill(writer: int, message: bytes) -> bool:
    """Write and close a pipe that nobody reads yet; False if it does not take the whole message."""
    try:
        if sys.platform != "win32":
            os.set_blocking(writer, False)  # a user with many pipes gets small ones
        return files.append(writer, message) == len(message)
    except BlockingIOError:
        return False
    finally:
        os.close(writer)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}


if sys.platform == "win32":
    #: A lock cannot be inherited here: a second sender may start, and ends when it finds the first.
    _LOCK: Final = -1

    def _spawn(command: list[str], stdin: int, lock: Lock | None) -> None:
        import subprocess  # noqa: PLC0415  # start-up time

        if lock is not None:
            lock.release()
        flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
        null, environment = subprocess.DEVNULL, _environment()
        child = subprocess.Popen(  # noqa: S603  # our own interpreter
            command, stdin=stdin, stdout=null, stderr=null, cwd="/", env=environment, creationflags=flags
        )
        child.returncode = 0  # else Popen warns that nobody waits for it, when the host asks for such warnings

else:
    import fcntl

    #: Where the child finds the lock, behind its three streams.
    _LOCK: Final = 3

    def _spawn(command: list[str], stdin: int, lock: Lock | None) -> None:
        # Not subprocess: importing it takes longer than everything else at exit, and a fork would run the host's hooks.
        null = os.open(os.devnull, os.O_RDWR)
        copies: list[int] = []
        try:
            streams = (stdin, null, null, null if lock is None else lock.descriptor)
            # Out of the way first: in a host without streams one of these is in the place of another.
            copies.extend(fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, _LOCK + 1) for ours in streams)
            actions = [(os.POSIX_SPAWN_DUP2, ours, theirs) for theirs, ours in enumerate(copies)]
            os.posix_spawn(command[0], command, _environment(), file_actions=actions, setsid=True)
        finally:
            for descriptor in (null, *copies):
                os.close(descriptor)
