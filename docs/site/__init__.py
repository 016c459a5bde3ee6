"""The documentation site: its sources are put together here, and MkDocs makes HTML of them (`make docs`)."""
