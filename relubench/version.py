"""The version, in a file of its own so that reading it imports nothing."""

__version__ = "0.1.0"

ENGINE_VERSION = 7
"""Part of every run's id. Raised by any change that moves results; the reason goes into CHANGELOG.md."""

PRETRAINING_VERSION = 3
"""The same for what moves pre-trained weights alone: part of the ids of stacks, and of runs that start from one."""
