"""The client for asyncio. `make client` generates `_sync` from it, except two modules."""
