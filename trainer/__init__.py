"""Training and evaluation: everything that needs gradients. Imports the engine's library only."""
