"""Transactions, labels, CSV imports and the deletion of users, over HTTP."""
