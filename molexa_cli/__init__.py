"""The command line of molexa: one file per command under `molexa_cli.commands`."""
