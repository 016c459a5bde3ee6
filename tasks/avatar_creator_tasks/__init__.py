"""The workers: they claim due generations and background jobs from the database and run them."""
