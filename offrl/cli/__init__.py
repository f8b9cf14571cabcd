"""What the launcher needs before any job runs: the words of the command line, names, messages, the machine."""
