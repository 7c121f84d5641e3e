"""What assets are handed: the lake, the control database, sources; and the runner behind the command line."""
