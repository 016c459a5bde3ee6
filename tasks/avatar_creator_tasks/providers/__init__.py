"""Providers that draw portraits: a package each; `base.Provider` is their interface."""
