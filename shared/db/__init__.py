"""PostgreSQL: engine, tables, migrations, and the rules on transactions, labels and features."""
