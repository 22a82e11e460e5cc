"""The command line of molexa: one file per command under `molexa_cli.commands`."""

import os
import signal
import sys

if os.path.basename(sys.argv[0]) in ("-m", "molexa"):  # noqa: PTH119  (light at the start)
    # A signal in the middle of the imports is answered as any other, when they are done. Until the
    # program can listen, which takes some milliseconds, Ctrl-C ends it without a word.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from molexa_core.base import interruption

    interruption.listen()
