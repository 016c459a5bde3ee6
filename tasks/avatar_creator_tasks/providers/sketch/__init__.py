"""The provider `sketch`: draws a simple portrait from the attributes, without a model."""
