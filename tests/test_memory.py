"""Do the threads of a process share few heaps once it was told so?"""

from __future__ import annotations

import subprocess
import sys

import pytest

COUNT_HEAPS = """
import ctypes, sys, tempfile, threading
from scetm_core.memory import keep_heap_compact
if sys.argv[1] == "compact":
    keep_heap_compact()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
libc.fopen.restype, libc.malloc_info.argtypes, libc.fclose.argtypes = (
    ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p], [ctypes.c_void_p])
together = threading.Barrier(8)
def hold():
    together.wait()
    kept = [libc.malloc(2000) for _ in range(2000)]
    together.wait()
    for address in kept:
        libc.free(address)
threads = [threading.Thread(target=hold) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
with tempfile.NamedTemporaryFile() as file:
    stream = libc.fopen(file.name.encode(), b"w")
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(open(file.name).read().count("<heap nr"))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other heaps")
def test_threads_share_two_heaps() -> None:
    def n_heaps(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", COUNT_HEAPS, how], capture_output=True, text=True, check=True)
        return int(done.stdout)

    if n_heaps("as ever") <= 2:
        pytest.skip("this C library has no heaps of threads")
    assert n_heaps("compact") <= 2
