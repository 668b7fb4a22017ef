import sys

from vg.train import main

if __name__ == "__main__":
    sys.exit(main())
