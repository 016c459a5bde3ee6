"""The provider `diffusers`: draws with a model on the worker's own GPU, or slowly on its CPU."""
