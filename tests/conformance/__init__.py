"""The conformance suite of the providers: the same cases, with the same outcomes, for each of them.

A new provider gets a `ProviderUnderTest` in `providers.py`, which says how its fake causes each case. A case
that does not apply to the provider has a reason there, so that no case is left out by mistake.
"""
