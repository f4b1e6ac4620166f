"""How the tables of the store came to be: one file in `versions` per change, run by alembic in their order."""
