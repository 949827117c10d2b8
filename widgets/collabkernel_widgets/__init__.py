"""Live views of collabkernel values in notebooks."""
