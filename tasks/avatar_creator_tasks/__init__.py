"""The workers: they claim due generations and quick work from the database and do them."""
