"""Real processes, without the seconds in which each would load torch and what trains and draws: forked from one that
has done no more."""

import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from resharp.__main__ import main
from resharp.data.workers import start_context

_LOADED = [
    "resharp.data.loading",
    "resharp.training.trainer",
    "torch._dynamo",  # which an optimiser loads
    "matplotlib.backends.backend_agg",  # which draws a run's curves
]


def begun(do: Callable[..., object], *arguments: Any, folder: Path, label: str = "") -> BaseProcess:
    """A process that does `do(*arguments)` in the folder; what it prints is in stdout + label, stderr + label there."""
    context = start_context()
    multiprocessing.set_forkserver_preload(_LOADED)
    process = context.Process(target=_done_in, args=(folder, label, do, *arguments), daemon=True)  # type: ignore[attr-defined]
    process.start()
    return process  # type: ignore[no-any-return]


def ended(do: Callable[..., object], *arguments: Any, folder: Path) -> int | None:
    """The exit code of such a process; of one that a signal ended, minus its number."""
    process = begun(do, *arguments, folder=folder)
    process.join(120)
    return process.exitcode


def command(*words: object) -> None:
    """`resharp WORDS`."""
    sys.argv = ["resharp", *map(str, words)]
    main()


def _done_in(folder: Path, label: str, do: Callable[..., object], *arguments: Any) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.chdir(folder)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name + label, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    do(*arguments)
