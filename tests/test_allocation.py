"""Freed memory that stays with the process, in one of its own."""

import subprocess
import sys

import pytest

from resharp.allocation import freed_memory

_PROGRAM = """
import resource, torch
from resharp.allocation import freed_memory, keep_freed_memory
assert {kept} or keep_freed_memory()
def faults(megabytes):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(megabytes << 20, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(64)
print(faults(60), freed_memory() >> 20)
"""


def run(*, plain: bool) -> tuple[int, int]:
    program = _PROGRAM.format(kept=plain)
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    faults, freed = (int(word) for word in output.split())
    return faults, freed


@pytest.mark.skipif(not freed_memory(), reason="of glibc alone")
def test_memory_that_was_freed_is_used_again_without_the_system() -> None:
    faults, freed = run(plain=False)
    assert faults < 100
    assert freed >= 64
    taken_anew, given_back = run(plain=True)
    assert taken_anew > 1000
    assert given_back < 64
