"""One command, timed; and what a table says of several."""

import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass


@dataclass
class Ran:
    """What one command did."""

    seconds: float
    # The largest resident set of the process, never below that of this interpreter, which starts it.
    peak_bytes: int
    code: int
    stdout: str
    stderr: str


class Unfinished(Exception):
    """A command that was still running at its time limit, and was killed."""


def run(command, folder, environment=None, limit=600, may_fail=False):
    """Runs a command to its end, its output into files so that nobody waits for a reader."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
            start_new_session=True,
        )
        timer = threading.Timer(limit, kill_all, [process])
        timer.daemon = True
        timer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:  # An interrupt must not leave it running.
            kill_all(process)
            raise
        finally:
            timer.cancel()
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        stderr.seek(0)
        ran = Ran(
            seconds, usage.ru_maxrss * 1024, process.returncode, stdout.read().decode(errors="replace"),
            stderr.read().decode(errors="replace"),
        )
    if seconds >= limit:
        raise Unfinished(f"not done in {limit} s")
    if ran.code != 0 and not may_fail:
        sys.exit(f"{' '.join(map(str, command))} in {folder}: exit code {ran.code}\n{ran.stderr[-2000:]}")
    return ran


def kill_all(process):
    """Kills a process with all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # It ended just now.


def find(name, folders):
    """The path of a program: in `folders`, in virtual environments within them, else on $PATH."""
    for folder in folders:
        for path in [folder / name, folder / "bin" / name, *sorted(folder.glob(f"*/bin/{name}"))]:
            if path.is_file() and os.access(path, os.X_OK):
                return str(path)
    return shutil.which(name)


def median(samples):
    return statistics.median(samples)


def duration(seconds):
    """Seconds as a person reads them."""
    if seconds >= 100:
        return f"{seconds:.0f} s"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"


def spread(samples):
    """The median with the extremes and the count."""
    if len(samples) == 1:
        return f"{duration(samples[0])} (once)"
    low, high = duration(min(samples)), duration(max(samples))
    return f"{duration(median(samples))} ({low}–{high} of {len(samples)})"


def mebibytes(count):
    return f"{count / 2**20:.0f} MiB"
