"""The command line of molexa: one file per command under `molexa_cli.commands`."""

import os
import signal
import sys

if os.path.basename(sys.argv[0]) in ("-m", "molexa"):  # noqa: PTH119  (light at the start)
    # Until the program listens to signals, Ctrl-C ends it without a word: it would be in the middle
    # of its imports.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
