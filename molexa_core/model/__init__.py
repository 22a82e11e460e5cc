"""The network: layers, diffusion, training, inference, weights."""
