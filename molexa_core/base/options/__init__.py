"""What a call tells of its own: classes of parameters that become options of commands."""
