"""A stop arrives wherever the program is when its signal comes."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

LOST = """
import gc, os, signal, sys, time
from htlnet_tf.stopping import stop_by_unwinding

def pause():
    for _ in range(1000):
        pass  # where the handler runs

class Finalised:
    def __del__(self):
        os.kill(os.getpid(), {number})
        pause()

def in_collection(phase, info):
    gc.callbacks.remove(in_collection)
    os.kill(os.getpid(), {number})
    pause()

stop_by_unwinding()
try:
    {lose}
    print("lost", flush=True)
    time.sleep(30)
    print("went on", flush=True)
except KeyboardInterrupt:
    sys.exit(130)
finally:
    print("cleaned up", flush=True)
"""


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("lose", ["Finalised()", "gc.callbacks.append(in_collection); gc.collect()"])
def test_a_stop_that_is_lost_is_raised_again(number: int, code: int, lose: str) -> None:
    program = LOST.format(number=int(number), lose=lose)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=25, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "lost\ncleaned up\n", "")


def test_other_errors_that_cannot_be_raised_are_reported_as_ever() -> None:
    program = """
from htlnet_tf.stopping import stop_by_unwinding

class Finalised:
    def __del__(self):
        raise ValueError("told")

stop_by_unwinding()
Finalised()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=25, check=True)
    assert "Exception ignored in" in ended.stderr and "ValueError: told" in ended.stderr
