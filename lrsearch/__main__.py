"""`python -m lrsearch`."""

from lrsearch.entry.main import main

if __name__ == "__main__":
    main()
