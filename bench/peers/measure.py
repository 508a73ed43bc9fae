"""Runs a command and writes what it cost: python measure.py cost.json log.txt command ...

A process of its own and without imports beyond the standard library, because Linux counts the memory of the process
that starts a program into that program's peak.
"""

import json
import os
import sys
import time


def main() -> int:
    cost_path, log_path, *command = sys.argv[1:]
    start = time.monotonic()
    with open(log_path, "wb") as log:
        into_log = [(os.POSIX_SPAWN_DUP2, log.fileno(), stream) for stream in (1, 2)]
        try:
            pid = os.posix_spawnp(command[0], command, os.environ, file_actions=into_log)
        except FileNotFoundError:
            print(f"{command[0]}: not found", file=sys.stderr)
            return 127
    _, status, usage = os.wait4(pid, 0)
    rc = os.waitstatus_to_exitcode(status)
    cost = {"wall_s": time.monotonic() - start, "cpu_s": usage.ru_utime + usage.ru_stime,
            "peak_MiB": usage.ru_maxrss / 1024, "rc": rc}
    with open(cost_path, "w") as out:
        json.dump(cost, out)
    return rc if rc >= 0 else 128 - rc


if __name__ == "__main__":
    sys.exit(main())
