"""The load generators: what each sends, and the process that sends it."""
