"""The one exception for what a user can mend.

Belongs here: errors whose message is meant to be read by the person who caused them. Does not belong here:
bugs (let them raise what they raise) and row-level refusals, which are columns (`status`, `reason`), not errors.
"""


class UserError(Exception):
    """Something the user can mend; the message is one line: what is wrong, where, what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class Unavailable(UserError):
    """What is needed is away, such as a store or a database; nothing is wrong with what was asked of it."""
