"""The command line, every command as a process of its own: what is printed where, and the exit codes."""
