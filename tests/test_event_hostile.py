"""x"""
def _doubled() -> Any:
    value: Any = 0
    for _ in range(31):
        value = [value, value]
    return value


_LONG = "a" * 1_000_000


@pytest.mark.parametrize(
    "given",
    [
        {"a": _doubled()},
        {"a": [_LONG] * 1000},
        {"a": [{_LONG: 1}] * 1000},
        {str(number): _LONG for number in range(1000)},
        {"a": [bytes(1_000_000)] * 1000},
    ],
    ids=["values", "texts", "keys", "flat", "bytes"],
)
def test_shared_parts_are_not_unfolded(given: dict[str, Any]) -> None:
    """A small structure that would unfold into gigabytes is `too_large`, and costs no more than megabytes to find out."""
    tracemalloc.start()
    try:
        with pytest.raises(EventRejected) as caught:
            properties(given)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "too_large" == caught.value.reason
    assert peak < 64 * 1024 * 1024


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: type(value).__name__)
def test_objects_whose_own_code_fails_spoil_nothing_else(value: Any) -> None:
    """An object that raises when it is looked at becomes some JSON; everything around it is intact."""
    found = properties({"a": value, "list": [1, value, 2], "good": {"b": (1,)}})
    assert ([1], 1, 2) == (found["good"]["b"], found["list"][0], found["list"][-1])


def test_properties_that_cannot_be_read_are_rejected() -> None:
    """A mapping that raises is `invalid` when it is the properties, since nothing of the event would be left."""
    for given in (NoKeys(), NoItems(), Mock(spec=dict), _dead()):
        with pytest.raises(EventRejected, match="") as caught:
            properties(given)
        assert "invalid" == caught.value.reason


def test_another_thread_may_change_the_properties_meanwhile() -> None:
    """While a thread goes on changing dicts, lists and sets, every event is valid and nothing is raised."""
    inner: dict[str, Any] = {"list": [1], "set": {1}}
    given: dict[str, Any] = {"inner": inner, "ordered": OrderedDict(a=1)}
    done = threading.Event()

    def change() -> None:
        for number in count():
            if done.is_set():
                return
            for place in (given, inner, given["ordered"]):
                place[f"new{number}"] = number
                del place[f"new{number}"]
            inner["list"].append(inner["list"].pop())
            inner["set"] ^= {number % 7 + 2}

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=change)
    thread.start()
    try:
        found = [properties(given) for _ in range(2000)]
    finally:
        done.set()
        thread.join()
        sys.setswitchinterval(interval)
    assert all(set(each) >= set(given) and set(each["inner"]) >= {"list", "set"} for each in found)
