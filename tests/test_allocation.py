"""Freed memory that stays with the process, in one of its own."""

import subprocess
import sys

import pytest

from resharp.allocation import freed_memory

_PROGRAM = """
import resource, torch
from resharp.allocation import freed_memory, give_freed_memory_back, keep_freed_memory
assert {kept} or keep_freed_memory()
def faults(megabytes):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(megabytes << 20, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
kept = [torch.ones(64 << 20, dtype=torch.uint8) for _ in range(3)]
del kept[1]  # a hole
print(faults(60), freed_memory() >> 20)
give_freed_memory_back()
freed = freed_memory() >> 20
print(faults(60), freed)
"""


def run(*, plain: bool) -> list[int]:
    program = _PROGRAM.format(kept=plain)
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    return [int(word) for word in output.split()]


@pytest.mark.skipif(not freed_memory(), reason="of glibc alone")
def test_memory_that_was_freed_is_used_again_without_the_system() -> None:
    faults, freed, once_given_back, freed_since = run(plain=False)
    assert faults < 100
    assert freed >= 64
    assert once_given_back > 1000
    assert freed_since < 8
    taken_anew, given_back, *_ = run(plain=True)
    assert taken_anew > 1000
    assert given_back < 64
