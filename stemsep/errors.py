"""The one kind of error that is the user's to mend."""


class InputError(ValueError):
    """What was given cannot be used: one sentence that names the file or field and the remedy.

    Commands print the sentence and end with status 1; every other exception is a fault of ours and
    keeps its traceback.
    """


class Stopped(Exception):
    """What was asked to stop, and has: the sentence says how to go on. Commands end with status 0.
    """
