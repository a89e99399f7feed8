"""How much work suggestions leave to a user (`__main__`), and what a request costs (`calls`)."""
