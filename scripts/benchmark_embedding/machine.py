"""What the machine is, and how busy others keep it during a measurement."""

import os
import platform
import time

from processes import own_cpu_seconds

FLAGS = ["avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8"]


def describe():
    """The processor, its cores and the instruction sets that matter here."""
    facts = {}
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            key, _, value = line.partition(":")
            facts.setdefault(key.strip(), value.strip())
    flags = facts.get("flags", "").split()
    return {
        "processor": facts.get("model name", platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "instructions": [flag for flag in FLAGS if flag in flags],
        "kernel": platform.release(),
    }


class LoadMeter:
    """Counts the processor time that processes other than ours use from now on."""

    def __init__(self, workers):
        self.workers = workers
        self.started = self.counters()

    def counters(self):
        with open("/proc/stat", encoding="ascii") as file:
            ticks = [int(count) for count in file.readline().split()[1:]]
        user, nice, system, _idle, _wait, interrupt, soft_interrupt, steal = ticks[:8]
        second = os.sysconf("SC_CLK_TCK")
        busy = (user + nice + system + interrupt + soft_interrupt) / second
        ours = own_cpu_seconds() + sum(worker.cpu_seconds() for worker in self.workers)
        return time.perf_counter(), busy, ours, steal / second

    def read(self):
        """Cores that others used on average since the start, and cores that the host took away."""
        seconds, busy, ours, steal = (
            now - then for now, then in zip(self.counters(), self.started, strict=True)
        )
        others = max(0.0, busy - ours)
        return {"other_cores": others / seconds, "stolen_cores": max(0.0, steal) / seconds}
