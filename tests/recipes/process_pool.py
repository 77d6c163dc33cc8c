"""A program that spreads its work over processes; each of them tracks with the same few lines.

    python process_pool.py

It does not matter how the processes are started (`fork`, `forkserver`, `spawn`): they share one queue on disk.
"""

from concurrent.futures import ProcessPoolExecutor

from producttelemetry import Telemetry

telemetry = Telemetry("your-write-key", project_slug="convert")


def convert(number: int) -> int:
    """Convert one picture."""
    telemetry.track("picture.converted", {"pixels": number * number})
    return number


if __name__ == "__main__":
    with ProcessPoolExecutor(4) as pool:
        converted = len(list(pool.map(convert, range(200), chunksize=5)))
    telemetry.track("run.completed", {"pictures": converted})
    print(f"{converted} pictures converted")
