"""The one exception for mistakes in input, which the command line shows in one line with exit code 2."""


class InputError(ValueError):
    """Bad input. The text says where, what was found, what was expected and what to do."""
