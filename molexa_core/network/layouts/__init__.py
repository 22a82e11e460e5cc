"""The two layouts of the network (tokens are atoms or pairs) and their fast kernels."""
