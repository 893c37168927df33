"""Runs one program and writes what it took. Its own process, because Linux counts the largest memory of the parent to a child:

    python -I -S launch.py TAKEN.json COMMAND...

This one is small, so what it hands on is less than what any program of interest takes. It ends as the program does.
"""

import json
import os
import sys
import time


def main() -> None:
    taken, *command = sys.argv[1:]
    start = time.perf_counter()
    process = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(process, 0)
    seconds = time.perf_counter() - start
    with open(taken, "w", encoding="utf-8") as file:
        json.dump({"seconds": seconds, "peak_rss_bytes": usage.ru_maxrss * 1024}, file)
    code = os.waitstatus_to_exitcode(status)
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
