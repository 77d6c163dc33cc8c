"""What can keep the collector from starting, as errors a command line prints as one line.

```
OSError
└── CollectorError          the message alone is the whole story; no traceback helps
    ├── ListenError         the address is taken, not ours, or not an address
    └── StoreError          the store file cannot be opened, or is somebody else's
```

A missing extra is not in this tree: it is the `ImportError` that importing the package raises, because nothing else of
the package can be imported then.
"""


class CollectorError(OSError):
    """The collector cannot start; `str()` of it is one sentence for the person at the terminal."""


class ListenError(CollectorError):
    """The server cannot listen where it was told to."""


class StoreError(CollectorError):
    """The store cannot be opened, or the file is not a collector's."""
