"""ECP5 primitives, one kind per file. The generic components that use them are their twins."""
