"""The C kernel: source, build and loader, and the two loops that run in it; knows arrays only."""
