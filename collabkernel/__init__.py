"""collabkernel: live rooms that people, scripts and agents edit at once."""

__version__ = "0.1.0"
