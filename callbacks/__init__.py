"""Lightning and Hydra callbacks: what happens around fitting and predicting."""
