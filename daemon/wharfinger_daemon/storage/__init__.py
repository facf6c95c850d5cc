"""Storage adapters: the database (SQLite or PostgreSQL through SQLAlchemy) and the metadata directory."""
