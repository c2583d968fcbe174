"""`python -m resharp` is the command line."""

import atexit
import gc
import sys

_SELDOM = (10_000, 20, 50)  # thresholds of the collector


def main() -> None:
    """The command line; Ctrl-C while it is still being loaded ends it as quietly as later.

    Cycles are looked for seldom, and not at the end: among the objects of torch that took a third of a second of its
    1.4 to be loaded and left.
    """
    gc.set_threshold(*_SELDOM)
    atexit.register(gc.freeze)
    try:
        from resharp.cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("resharp: interrupted; nothing was written\n")
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
