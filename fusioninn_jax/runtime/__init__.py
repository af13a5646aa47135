"""What every command needs and no image knows of: flags, processes, output files, memory, a user's errors."""
