"""How much work suggestions leave to a person; see __main__."""
