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
faults(64)
print(faults(60), freed_memory() >> 20)
give_freed_memory_back()
print(faults(60))
"""


def run(*, plain: bool) -> tuple[int, int, int]:
    program = _PROGRAM.format(kept=plain)
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    faults, freed, faults_after = (int(word) for word in output.split())
    return faults, freed, faults_after


@pytest.mark.skipif(not freed_memory(), reason="of glibc alone")
def test_memory_that_was_freed_is_used_again_without_the_system() -> None:
    faults, freed, once_given_back = run(plain=False)
    assert faults < 100
    assert freed >= 64
    assert once_given_back > 1000
    taken_anew, given_back, _ = run(plain=True)
    assert taken_anew > 1000
    assert given_back < 64
