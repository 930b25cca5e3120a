"""The one base of all errors that a user's input causes."""


class InputError(ValueError):
    """What the user gave cannot be used; the message is one line that says why and what can."""
