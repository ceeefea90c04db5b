"""``python -m semiseg_lib COMMAND`` is ``semiseg COMMAND``."""

import sys

from semiseg_lib.cli import main

if __name__ == "__main__":
    sys.exit(main())
