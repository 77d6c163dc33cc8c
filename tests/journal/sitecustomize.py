"""Makes every Python program that finds this on its path tell an oracle what it tracks; the program stays as it is."""

import os

if "ORACLE_JOURNALS" in os.environ:
    from tests import oracle

    oracle.listen(os.path.join(os.environ["ORACLE_JOURNALS"], f"{os.getpid()}-{os.urandom(4).hex()}"))
