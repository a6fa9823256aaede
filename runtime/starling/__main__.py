"""``python -m starling`` is the command line ``starling``."""

from starling.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
