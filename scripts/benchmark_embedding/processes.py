"""The measured processes: workers that are spoken to, and commands that run from start to end."""

import json
import os
import resource
import subprocess
import time


class Failed(Exception):
    """A process did not do what it was told; the message says why."""


class Worker:
    """A process that takes orders, one JSON line each, once it has loaded its model."""

    def __init__(self, name, command, variables, log):
        self.name = name
        self.log = log
        self.errors = open(log, "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=variables,
            text=True,
        )

    def ready(self):
        """Waits for the worker's first line, which says what it is."""
        return self.read()

    def ask(self, order, **details):
        """The answer to one order."""
        try:
            self.process.stdin.write(json.dumps({"order": order, **details}) + "\n")
            self.process.stdin.flush()
        except OSError:
            pass  # It has ended; reading tells how.
        return self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"it ended with {self.process.wait()}: {last_line(self.log)}")
        try:
            return json.loads(line)
        except json.JSONDecodeError:
            raise Failed(f"it wrote what is no answer: {line.strip()[:200]}") from None

    def cpu_seconds(self):
        """The processor time that all its threads have used so far."""
        return cpu_seconds(self.process.pid)

    def peak_bytes(self):
        """The most memory that it has held so far (VmHWM)."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        raise Failed("the kernel does not tell its peak memory")

    def close(self):
        """Ends the worker: at the end of its input it stops by itself."""
        try:
            self.process.stdin.close()
        except OSError:
            pass
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()


def run_whole(command, variables, log):
    """Runs a command from start to end: seconds, processor seconds and peak memory of the process."""
    with open(log, "w", encoding="utf-8") as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command], stdout=errors, stderr=errors, env=variables
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Failed(f"`{command[0]}` ended with {process.returncode}: {last_line(log)}")
    return {
        "seconds": seconds,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_bytes": used.ru_maxrss * 1024,
    }


def last_line(log):
    with open(log, encoding="utf-8", errors="replace") as file:
        lines = [line.strip() for line in file if line.strip()]
    return lines[-1] if lines else "it said nothing"


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    # utime and stime; the fields are numbered from the state, the third.
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def own_cpu_seconds():
    """The processor time of this process and of its children that have ended."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, kinds))
