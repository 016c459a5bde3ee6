"""The client that blocks. `make client` generates it from `_async`, except two modules."""
