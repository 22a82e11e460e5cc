"""The network that turns momenta into structures."""
