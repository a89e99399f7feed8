"""Set-up scripts that need the standard library only."""
