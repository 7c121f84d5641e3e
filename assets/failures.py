"""What ends a run for good.

Belongs here: turning what a user can mend into a failure that no retry repeats. Does not belong here: rows that are
turned down (they are columns) and bugs (they raise what they raise).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from magpie.errors import UserError


@contextmanager
def user_errors() -> Iterator[None]:
    """Fail with the one line that says what is wrong and what to do; asking again would say the same."""
    try:
        yield
    except UserError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
