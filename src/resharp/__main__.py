"""`python -m resharp` is the command line."""

import sys


def main() -> None:
    """The command line; Ctrl-C while it is still being loaded ends it as quietly as later."""
    try:
        from resharp.cli import main as run
    except KeyboardInterrupt:
        sys.stderr.write("resharp: interrupted; nothing was written\n")
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
