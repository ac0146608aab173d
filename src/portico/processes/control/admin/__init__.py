"""The admin API: what runs, and what may be done about it, as a FastAPI application on its own address."""
