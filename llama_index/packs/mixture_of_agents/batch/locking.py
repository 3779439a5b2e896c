"""A lock on an open file, held by this process alone. The operating system lets go of it when the process ends."""

import os
import sys

if sys.platform == "win32":
    import msvcrt

    _FAR = 2**62  # what is locked cannot be read by others there, so it is none of the file's bytes

    def lock(file: int) -> bool:
        """Lock an open file; False where another process holds it."""
        try:
            os.lseek(file, _FAR, os.SEEK_SET)
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def lock(file: int) -> bool:
        """Lock an open file; False where another process holds it."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
