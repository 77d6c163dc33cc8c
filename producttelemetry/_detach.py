"""Leave a process behind that delivers the events, without anybody noticing.

Guarantees: the host's exit takes the time of one `posix_spawn`. The child has a session of its own, the null device for
its three standard streams and no other descriptor of the host, so a pipe that the host wrote to ends with the host. The
write key comes over a pipe, never in argv. At most one per queue (`sender.lock`), none during back-off; it reads
consent before every request, lingers while commands follow each other, ends within a minute whatever the server does,
and starts nothing itself.

This module runs in the host and imports next to nothing; what the child runs is `_detached`.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Final, NamedTuple

from . import _config
from . import _files as files

#: Where this package is, as the host found it.
_HERE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
#: What the child does not need to be told again by the environment.
_NOT_INHERITED: Final = ("OPS_WRITE_KEY", "OPS_API_URL")
#: What a pipe takes without a reader on every platform, in bytes.
_PIPE_BYTES: Final = 4096 if sys.platform == "win32" else 16384

_BOOT: Final = (
    "import sys,json;task=json.load(sys.stdin.buffer);sys.path[:]=task.pop('path');"
    f"from {__package__}._detached import main;main(task)"
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
    interpreter = os.path.basename(sys.executable or "").lower().startswith(("python", "pypy"))
    frozen = getattr(sys, "frozen", False) or "__compiled__" in globals()
    return interpreter and not frozen and os.getpid() != 1 and not _config.in_ci()


def is_sending(spool: str) -> bool:
    """Whether somebody holds `sender.lock`."""
    lock = files.Lock(os.path.join(spool, "sender.lock"))
    try:
        return not lock.acquire(0.0)
    finally:
        lock.close()


def start(task: Task) -> bool:
    """Start a detached sender, unless somebody is sending already; False if there is no way to tell it what to do.

    `sender.lock` is taken here and goes to the child with its descriptor: two commands that end at the same moment
    start one sender, although the child needs a while before it can take a lock by itself.
    """
    # Relative entries mean another place by now: the host may have changed to a directory that anybody can write to.
    path = [place for place in sys.path if isinstance(place, str) and os.path.isabs(place)]
    message = json.dumps({**task._asdict(), "path": [*path, _HERE]}).encode()
    if len(message) > _PIPE_BYTES:
        return False
    lock = files.Lock(os.path.join(task.spool, "sender.lock"))
    try:
        return not lock.acquire(0.0) or _hand_over(message, lock)
    finally:
        lock.forget()  # closed and not unlocked: the child holds it now


def _hand_over(message: bytes, lock: files.Lock) -> bool:
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)  # nobody reads yet, and a user with many pipes gets small ones
        try:
            whole = files.append(writer, message) == len(message)
        except BlockingIOError:
            whole = False
        os.close(writer)
        if whole:
            flags = "-IB" if sys.dont_write_bytecode else "-I"
            _spawn([sys.executable, flags, "-c", _BOOT], reader, lock)
    finally:
        os.close(reader)
    return whole


if sys.platform == "win32":

    def _spawn(command: list[str], stdin: int, lock: files.Lock) -> None:
        import subprocess  # noqa: PLC0415  # start-up time

        lock.release()  # a lock cannot be inherited here: a second sender may start, and ends when it finds this one
        flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
        null = subprocess.DEVNULL
        subprocess.Popen(command, stdin=stdin, stdout=null, stderr=null, cwd="/", creationflags=flags)  # noqa: S603  # our own interpreter

else:

    def _spawn(command: list[str], stdin: int, lock: files.Lock) -> None:
        # Not subprocess: importing it takes longer than everything else at exit, and a fork would run the host's hooks.
        null = os.open(os.devnull, os.O_RDWR)
        try:
            streams = ((stdin, 0), (null, 1), (null, 2), (lock.descriptor, 3))
            actions = [(os.POSIX_SPAWN_DUP2, ours, theirs) for ours, theirs in streams]
            environment = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
            os.posix_spawn(command[0], command, environment, file_actions=actions, setsid=True)
        finally:
            os.close(null)
