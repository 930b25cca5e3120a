"""What a program costs before it runs: cycles, and where they go."""
