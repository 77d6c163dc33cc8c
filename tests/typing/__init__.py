"""Files that are checked for their types and never run."""
