"""A test's own directory, the variables that lead there, and the clients of this process that were made before."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

from .._config import TRACKED
from . import _clients
from ._events import Events

if TYPE_CHECKING:
    from typing import Self

#: The write key that a test's clients have, unless the program gives its own.
WRITE_KEY: Final = "test-key"


class Isolation:
    """What a test framework has to set up for one test: `variables` in the environment, then this as a context.

    ```python
    isolation = Isolation(directory)
    set_environment(isolation.variables())  # and back again after the test
    with isolation:
        run_test(isolation.events)
    ```

    Args:
        directory: absolute path of an empty directory of the test's own.

    Attributes:
        events: what was tracked in this process and its children.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = os.path.abspath(directory)
        self._pid = os.getpid()
        self._hosts_server: dict[str, Any] = {}
        path = os.path.join(self._directory, TRACKED)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        self.events = Events(path)

    def variables(self) -> dict[str, str | None]:
        """Return what the environment must hold, by name; None stands for a variable that must not be there.

        Those of the machine's user that would change what is tracked are among them. Set them in this order and take
        them back in the reverse one: at no moment is a user's opt-out gone, and no test there.
        """
        away: dict[str, str | None] = {name: None for name in os.environ if name.startswith("OPS_")}
        away.pop("OPS_TEST_DIR", None)
        return {"OPS_TEST_DIR": self._directory, **away, "DO_NOT_TRACK": None, "OPS_WRITE_KEY": WRITE_KEY}

    @staticmethod
    def collecting(url: str) -> dict[str, str | None]:
        """Return what the environment must hold as well, to have events sent to a collector.

        Args:
            url: the collector's, at `http://127.0.0.1:…`.
        """
        return {"OPS_TEST_URL": url, "OPS_API_URL": url}

    def __enter__(self) -> Self:
        _clients.redirect(self._directory)
        self._hosts_server = _exchange_fork_server({})
        return self

    def __exit__(self, *_: object) -> None:
        if os.getpid() == self._pid:
            _clients.restore(self._directory)
            ours = _exchange_fork_server(self._hosts_server)
            if ours.get("_forkserver_alive_fd") is not None:  # it ends when its children have ended
                os.close(ours["_forkserver_alive_fd"])


def _exchange_fork_server(states: dict[str, Any]) -> dict[str, Any]:
    """Have `multiprocessing` go on with another fork server, a new one if none is given; return the one before.

    The children of one have the environment that it was started in, and from Python 3.14 on most are its children.
    There is no public way to have a second one; where the private one is not as we know it, nothing is changed.
    """
    module = sys.modules.get("multiprocessing.forkserver")
    server = getattr(module, "_forkserver", None)
    lock = getattr(server, "_lock", None)
    if lock is None:
        return {}
    with lock:
        names = [name for name in vars(server) if name.startswith("_forkserver_")]
        before = {name: getattr(server, name) for name in names}
        for name in names:
            setattr(server, name, states.get(name))
    return before
