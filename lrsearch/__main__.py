"""`python -m lrsearch`."""

from lrsearch.cli.main import main

if __name__ == "__main__":
    main()
