"""`python -m resharp` is the command line."""

from resharp.cli import main

if __name__ == "__main__":
    main()
