"""`Telemetry`: the life of a client in one process, and the only place that guards the host against exceptions.

Guarantees: nothing but a wrong constructor argument raises into the host; nothing is created or started before the
first event; a method can be called from any thread, signal handler or finaliser, after a fork and after shutdown.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from . import _config, _detach, _event, _identity, _look, _options, _process
from . import _files as files
from ._consent import Consent, resolve
from ._erasure import Erasures
from ._errors import EventRejected, Purged, QueueFull
from ._flushing import Flusher
from ._lock import Lock
from ._log import Log
from ._sender import Sender
from ._spool import SENDER_LOCK, Directory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from typing import Self

    import httpx

    from ._event import EventType
    from ._options import BeforeSend, OnExit
    from ._spool import Overflow
    from ._stats import Stats
    from ._transport import Transport

Result = TypeVar("Result")


class Lifecycle(Enum):
    """Where a client stands."""

    #: Opted out, or unusable: every call does nothing.
    DISABLED = "disabled"
    #: `OPS_TELEMETRY=log`: events go to stderr.
    PRINTING = "printing"
    #: Events are stored and sent.
    OPEN = "open"
    #: `shutdown()` was called: events are refused.
    CLOSED = "closed"
    #: The interpreter exits: events are stored for the next process, and not sent.
    LEAVING = "leaving"


class Telemetry:
    """A client that stores events on disk and delivers them later, from this process or another.

    Args:
        write_key: the project's key; else `OPS_WRITE_KEY`. Without one the client is disabled, with one WARNING.
        api_url: the server; else `OPS_API_URL`, else https://api.producttelemetry.com.
        disabled: True turns everything off.
        flush_interval: seconds from an event to the automatic flush.
        flush_at: events tracked by this process that trigger a flush.
        max_queue_size: events in the queue that all processes share; never exceeded.
        project_slug: isolates client id, consent and queue; letters, digits, `_` and `-`.
        on_exit: what happens to queued events at interpreter exit: `detach` leaves them to a process of their own,
            `wait` flushes, `keep` leaves them to the next process, `auto` chooses between the first two.
        flush_timeout: seconds that `flush()`, `shutdown()` and a waiting exit may take, all in all.
        overflow: what gives way when the queue is full: `drop_oldest` or `drop_newest`.
        before_send: gets each event as a dict before it is stored, and returns it, changed or not, or None to drop it.
        default_properties: merged under the properties of every event.
        fsync: True makes `track()` return once the event is on stable storage; without it an event survives the death
            of every process, but not a power cut.
        transport: an httpx transport of your own, for proxies, private CAs or mTLS.

    Raises:
        ValueError, TypeError: an argument is wrong; the message names it and says what would be right.

    Every method may be called from any thread, from signal handlers and finalisers, and in forked children. Clients of
    one project and destination share the queue, in one process as in several.

    An opt-out wins over every argument: `DO_NOT_TRACK` (https://donottrack.sh), `OPS_TELEMETRY=0`, or
    `{"telemetry": false}` in the project's `config.json`.
    """

    def __init__(  # noqa: PLR0913, PLR0917  # the given signature
        self,
        write_key: str | None = None,
        api_url: str | None = None,
        disabled: bool = False,
        flush_interval: float = 30.0,
        flush_at: int = 10,
        max_queue_size: int = 1000,
        project_slug: str = "default",
        *,
        on_exit: OnExit = "auto",
        flush_timeout: float = 5.0,
        overflow: Overflow = "drop_oldest",
        before_send: BeforeSend | None = None,
        default_properties: Mapping[str, Any] | None = None,
        fsync: bool = False,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        arguments = {name: value for name, value in locals().items() if name != "self"}
        environment = _config.environment()
        self._options = _options.check(arguments, environment)
        self._log = Log()
        self._state = Lifecycle.DISABLED
        self._encoder: _event.Encoder | None = None
        self._transport: Transport | None = None
        self._guard("__init__", lambda: self._begin(environment))

    def _begin(self, environment: _config.Environment) -> None:
        options = self._options
        consent = resolve(options.disabled, environment, ())
        if consent.enabled:  # only now: reading paths costs an import
            self._project = _config.paths(options.project_slug)
            consent = resolve(options.disabled, environment, _config.read_config_files(self._project))
        problem = consent.problem or options.problem
        if problem is not None:
            self._log.once("warning", "configuration", f"telemetry is disabled: {problem}")
        elif consent.enabled and options.write_key is None and not consent.log_only:
            self._log.once("warning", "write_key", "telemetry is disabled: no write_key and no OPS_WRITE_KEY")
        elif consent.enabled:
            self._identity = _identity.Identity(self._project)
            self._start_process()
            self._state = Lifecycle.PRINTING if consent.log_only else Lifecycle.OPEN
            _process.move_in(self)

    def _start_process(self) -> None:
        """Set up what belongs to this process alone; its id comes last, for until then everything is to be set up."""
        options = self._options
        self._session_id = _event.uuid4()
        self._encoder = None
        self._transport = None
        self._choices = _config.choices_made(self._project)
        self._spool_dir = self._project.destination(options.api_base, options.write_key or "")
        self._erasures = Erasures(self._project, self._spool_dir)
        url = {"api_url": _config.without_password(options.api_base)}
        self._writer = options.make_writer(Directory(self._spool_dir, durable=options.fsync), url)
        self._sender = Sender(
            Directory(self._spool_dir, durable=options.fsync),
            Lock(os.path.join(self._spool_dir, SENDER_LOCK)),
            self._connect,
            lambda: self._consent().sends,
            self._erasures,
            self._log,
        )
        self._flusher = Flusher(options, self._writer, self._sender, self._seal, self._consent, self._log)
        self._pid = os.getpid()

    def _guard(self, method: str, action: Callable[[], Result]) -> Result | None:
        """Run the body of a public method. Whatever it raises is our defect, and not the host's problem."""
        try:
            return action()
        except Exception as error:  # noqa: BLE001  # the one place that guards the host
            self._note_defect(method, error)
            return None

    def _note_defect(self, method: str, error: Exception) -> None:
        self._log.loss(method, f"{method}() failed, a defect of this package: {type(error).__name__}: {error}")

    # --- events -----------------------------------------------------------------------------------------------------

    @property
    def enabled(self) -> bool:
        """Whether events are collected."""
        return self._state in {Lifecycle.OPEN, Lifecycle.PRINTING, Lifecycle.LEAVING}

    def track(
        self,
        event_name: str,
        properties: dict[str, Any] | None = None,
        event_type: EventType = "usage",
        timestamp: datetime | None = None,
    ) -> None:
        """Store one event. When this has returned, the event survives the end of the process in whichever way.

        Args:
            event_name: a text of at least one character, `cli.started` for example.
            properties: values of any type; what JSON lacks is converted, see the README.
            event_type: `lifecycle`, `usage` or `error`.
            timestamp: when it happened; now, if None. Naive means local time.

        Never raises and never waits for a network. An event that cannot be kept is logged and counted in `dropped`.
        An `Exception` out of a signal handler of yours that interrupts it is taken for ours, and goes no further.
        """
        try:
            hook = self._options.before_send
            if hook is None:
                self._record(_event.Encoder.event, event_name, properties, event_type, timestamp)
            else:
                self._record(_event.Encoder.filtered_event, hook, event_name, properties, event_type, timestamp)
        except Exception as error:  # noqa: BLE001  # as in `_guard`, without its cost
            self._note_defect("track", error)

    def error(
        self,
        exception: BaseException | None = None,
        message: str | None = None,
        properties: dict[str, Any] | None = None,
    ) -> None:
        """Store an error event.

        Args:
            exception: gives the event name `error.<ClassName>` and the properties `error_type`, `error_message` and
                `stack_trace`, without your user's name and home directory in paths.
            message: without an exception, gives `error.unknown` and `error_message`.
            properties: further properties.
        """
        self._guard("error", lambda: self._track_error(exception, message, properties))

    def _track_error(self, exception: BaseException | None, message: str | None, properties: Any) -> None:
        if not self.enabled:
            return
        exceptions = _process.late_import("_exceptions")  # traceback costs 30 ms
        if exceptions is None:
            self._reject(EventRejected("invalid", "what describes exceptions cannot be imported now"))
            return
        try:
            secrets = (*_config.user(), self._options.write_key or "")
            name, described = exceptions.error_event(exception, message, properties, *secrets)
        except EventRejected as error:
            self._reject(error)
        else:
            self.track(name, described, "error")

    def identify(self, user_id: str) -> None:
        """Link this installation to a user of yours; stored and sent in order, like an event.

        Args:
            user_id: your identifier, a text of at least one character.
        """
        self._guard("identify", lambda: self._record(_event.Encoder.identify, user_id))

    def _record(self, encode: Callable[..., bytes], *given: Any) -> None:
        """Store one event: what `encode`, a method of the encoder, makes of what was given."""
        state = self._state
        try:
            if state is Lifecycle.OPEN:
                if self._store(encode, given) and self._state is Lifecycle.OPEN:
                    self._flusher.note_tracked()
            elif state is Lifecycle.LEAVING:
                self.after_fork()
                if sys.is_finalizing():
                    self._writer.outlive_threads()
                self._store(encode, given)
            elif state is Lifecycle.PRINTING:
                self._print(encode(self._encoder or self._printing_encoder(), *given))
            elif state is Lifecycle.CLOSED:
                self._reject(EventRejected("invalid", "an event was tracked after shutdown()"))
        except (EventRejected, QueueFull) as error:
            self._reject(error)

    @staticmethod
    def _print(line: bytes) -> None:
        if sys.stderr is not None:
            # In ASCII: nothing that an event holds may steer a terminal.
            print("[telemetry]", json.dumps(json.loads(line)), file=sys.stderr)  # noqa: T201  # what `log` is for

    def _store(self, encode: Callable[..., bytes], given: tuple[Any, ...]) -> bool:
        """Encode and append; encode again where a purge has taken the client id away in between."""
        if self._pid != os.getpid():  # a fork that ran no hooks
            self.after_fork()
        for _ in range(3):  # a purge may come in between, and even another one
            try:
                encoder = self._encoder or self._new_encoder()
                if encoder is None:
                    return False
                self._writer.append(encode(encoder, *given))
            except Purged:
                self._identity.forget()
                self._encoder = None
            else:
                if self._writer.disk_error is not None:
                    self._tell_of_disk(self._writer.disk_error)
                return True
        self._writer.note("purged")
        return False

    def _printing_encoder(self) -> _event.Encoder:
        client_id = _identity.read_client_id(self._project) or _event.uuid4()
        self._encoder = _event.Encoder(client_id, self._session_id, self._options.default_properties)
        return self._encoder

    def _new_encoder(self) -> _event.Encoder | None:
        """Read consent and client id; None if consent is gone."""
        self._writer.renew()  # before reading both: a purge after this is found out about
        self._consent()
        if self._state is Lifecycle.DISABLED or self._is_elsewhere():
            return None
        client_id = self._client_id()
        with contextlib.suppress(OSError):  # what cannot be read stays where it is
            self._take_over(client_id)
        self._encoder = _event.Encoder(client_id, self._session_id, self._options.default_properties)
        return self._encoder

    def _client_id(self) -> str:
        try:
            self._erasures.settle_here()
            return self._identity.get()
        except OSError as error:
            self._tell_of_disk(error)
            return self._identity.make_up()

    def _take_over(self, client_id: str) -> None:
        """Take into the queue what the SDK before this one has left; see `_migration`."""
        if files.exists(self._project.former_events):  # else that is all it costs
            migration = _process.late_import("_migration")
            if migration is not None:
                options = self._options
                host = (client_id, options.max_queue_size, options.write_key or "", options.before_send)
                migration.take_over(self._project, self._writer, migration.Host(*host))

    def _tell_of_disk(self, error: OSError, effect: str = "telemetry works from memory") -> None:
        self._log.once("warning", effect, f"{effect}, because the disk fails: {error}")

    def _reject(self, error: Exception) -> None:
        """Count and log an event that is not kept."""
        reason = error.reason if isinstance(error, EventRejected) else "overflow"
        if isinstance(error, EventRejected) and self._state is not Lifecycle.PRINTING:
            self._writer.note(reason)
        self._log.loss(reason, f"an event was dropped: {error}")

    # --- sending ----------------------------------------------------------------------------------------------------

    def _connect(self) -> Transport:
        with _process.imports:  # a child that is forked now would inherit import locks that nobody releases
            from ._transport import Transport  # noqa: PLC0415  # 100 ms, in the flush thread only

        options = self._options
        key = options.write_key or ""
        self._transport = Transport(options.api_base, key, options.transport, test_dir=options.test_dir)
        return self._transport

    def _consent(self) -> Consent:
        """Read consent again; an opt-out stops this client for good."""
        if self._is_elsewhere():
            return Consent(enabled=False, passing=True)
        consent = resolve(self._options.disabled, _config.environment(), _config.read_config_files(self._project))
        choices, self._choices = self._choices, _config.choices_made(self._project)
        if choices != self._choices:
            self._writer.purge()  # perhaps `off`, then `on`: it has deleted what is on disk, not what waits in memory
        if not consent.enabled and not consent.passing:
            self._state = Lifecycle.DISABLED
            self._writer.purge()  # what waits in memory must not reach the disk, even if somebody opts in again
            if consent.problem is not None:
                self._log.once("warning", "configuration", f"telemetry is disabled: {consent.problem}")
        return consent

    def _is_elsewhere(self) -> bool:
        """Whether this is a client of a test that is over, or of none while one runs: what holds now is not for it."""
        own = self._options.test_dir
        over = own is not None and not files.exists(os.path.join(own, _config.TRACKED))
        return over or _config.test_dir() != own

    def _seal(self, *, last: bool = False) -> bool:
        """Hand the open segment over; False if that has to wait, for the disk or an interrupted call below us."""
        if not self._identity.keep():
            self._encoder = None
        try:
            return self._writer.seal(last=last)
        except OSError as error:
            self._log.debug(f"the spool cannot be written: {error}")
            return False

    def flush(self) -> None:
        """Send what is queued, and wait until the queue is empty, a failure, or `flush_timeout`."""
        self._guard("flush", self._flush_and_wait)

    def _flush_and_wait(self, *, explicit: bool = True) -> None:
        if self._state in {Lifecycle.OPEN, Lifecycle.CLOSED, Lifecycle.LEAVING} and not sys.is_finalizing():
            self.after_fork()
            self._flusher.flush_and_wait(explicit=explicit)
        if self._state is Lifecycle.CLOSED:
            self._flusher.worker.stop()

    def request_deletion(self) -> bool:
        """Have everything erased that the server and this machine hold of this installation (GDPR, article 17).

        Works when opted out, too. Takes at most `flush_timeout`.

        Returns:
            True: the server has agreed, and no event of the old client id leaves this machine any more, from any
            process. False: nothing has changed.
        """
        return self._guard("request_deletion", self._erase) is True

    def _erase(self) -> bool:
        options = self._options
        if options.write_key is None or options.problem is not None:
            return False
        if not _config.environment().admits(options.api_base, options.test_dir):
            return False
        # A client that was disabled before anything was read has none yet.
        known = getattr(self, "_identity", None) or _identity.Identity(_config.paths(options.project_slug))
        erasures = Erasures(known.project, known.project.destination(options.api_base, options.write_key))
        answer = erasures.request(known.used, self._connect, options.flush_timeout)
        if answer.failed is not None:
            self._tell_of_disk(answer.failed, "not everything was erased")
        if answer.done and hasattr(self, "_identity"):
            self._identity, self._encoder = _identity.Identity(known.project), None
            self._writer.purge()
        return answer.done

    def stats(self) -> Stats:
        """Return a look at the queue; zeros for a client that is disabled, or if the disk cannot be read."""
        return self._guard("stats", lambda: _look.look(self._facts())) or _look.unknown()

    def _facts(self) -> _look.Facts | None:
        if self._state in {Lifecycle.DISABLED, Lifecycle.PRINTING}:
            return None
        return _look.Facts(self._spool_dir, self._sender.state(), self._writer.volatile, self._writer.uncounted())

    # --- leaving ----------------------------------------------------------------------------------------------------

    def shutdown(self) -> None:
        """Stop the timer, flush within `flush_timeout`, refuse new events. Calling it again does nothing."""
        self._guard("shutdown", self._shut_down)

    def _shut_down(self) -> None:
        if self._state is not Lifecycle.OPEN:
            return
        self.after_fork()
        self._state = Lifecycle.CLOSED
        sealed = self._seal(last=True)
        if self._flusher.tracked:
            self._flush_and_wait(explicit=False)
        self._flusher.worker.stop()
        if sealed:  # else an interrupted call below us holds the segment, and the exit handler seals it
            self._writer.close()
            if not self._sender.sending:  # else a child that is forked now has to let go of `sender.lock`
                _process.move_out(self)

    def leave(self) -> None:
        """@private Leave as `on_exit` says. Called once, when the interpreter exits."""
        with contextlib.suppress(KeyboardInterrupt):  # ends our wait, and the host has ended; Python would complain
            self._guard("exit", self._leave)

    def _leave(self) -> None:
        self.after_fork()
        if self._state is Lifecycle.PRINTING:
            return
        sending = self._state is Lifecycle.OPEN  # asked before consent, which may change it
        if not self._consent().sends:
            if self._is_elsewhere():
                self._seal(last=True)
            else:
                self._writer.purge()  # what waits in memory must not reach the disk any more
            return
        if sending:
            self._state = Lifecycle.LEAVING
        self._seal(last=True)
        if sending and self._flusher.tracked and self._options.on_exit != "keep" and not self._detach():
            self._flush_and_wait(explicit=False)

    def _detach(self) -> bool:
        """Hand the queue over to a detached sender; False if this process has to send it itself."""
        options, connected = self._options, self._transport is not None and self._transport.connected
        chosen = options.on_exit == "detach" or (options.on_exit == "auto" and not connected)
        if not chosen or options.transport is not None or not self._writer.disk_works:
            return False
        task = _detach.Task(options.write_key or "", options.api_base, *self._project, self._spool_dir)
        return _detach.start(task, self._sender)

    def before_fork(self) -> None:
        """@private Let the flush thread end if it has nothing to do."""
        self._flusher.worker.pause()

    def after_fork_in_parent(self) -> None:
        """@private Have a flush thread again if there is something to do."""
        self._flusher.worker.resume()

    def after_fork(self) -> None:
        """@private Start afresh in a forked child, if this is one: what the parent has open is the parent's."""
        if self._pid == os.getpid():
            return
        parents_writer, parents_sender = self._writer, self._sender
        if self._encoder is not None:
            self._encoder.forget_random()  # a `track()` that the fork has interrupted goes on with it
        self._start_process()
        parents_writer.after_fork()
        parents_sender.after_fork()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
