"""From a transaction to a feature row to hashed columns; brands and the category taxonomy."""
