"""One execution environment: its life, its limits of time, and how what ran in it is judged."""
