"""digits-8: a small epsilon-prediction model of handwritten digits, for figures about models that are no flows."""
