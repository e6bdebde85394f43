"""The command as a process of its own, started as an installed one is: without the working directory on Python's path."""

import sys

TLBCHECK = [sys.executable, "-c", "import sys; sys.argv[0] = 'tlbcheck'; del sys.path[0]; from tlbcheck.cli import main; main()"]
