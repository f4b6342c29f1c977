"""What a decoder process may do: use so much memory and so much time, and nothing else.

FFmpeg reads bytes that anybody may have made. All that it needs is open before it begins. So
nothing is lost by refusing it files, sockets and programs (seccomp(2)), memory and time
(``RLIMIT_AS`` and ``RLIMIT_CPU`` of setrlimit(2)).
"""

from __future__ import annotations

import ctypes
import errno
import math
import platform
import resource
import signal
import struct
from contextlib import suppress
from pathlib import Path

_CPU_SECONDS = 3.0
"""The CPU time that any recording may take ..."""

_CPU_SHARE = 0.5
"""... and how much more for each second of its audio; a hundredth is usual."""

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2

_ALLOWED = """
read 0 63; write 1 64; readv 19 65; writev 20 66; pread64 17 67; pwrite64 18 68; lseek 8 62;
close 3 57; fstat 5 80; newfstatat 262 79; fcntl 72 25; munmap 11 215; mremap 25 216;
madvise 28 233; brk 12 214; rt_sigaction 13 134; rt_sigprocmask 14 135; rt_sigreturn 15 139;
sigaltstack 131 132; restart_syscall 219 128; futex 202 98; set_robust_list 273 99; rseq 334 293;
set_tid_address 218 96; membarrier 324 283; exit 60 93; exit_group 231 94; sched_yield 24 124;
sched_getaffinity 204 123; getcpu 309 168; nanosleep 35 101; clock_nanosleep 230 115;
clock_gettime 228 113; clock_getres 229 114; gettimeofday 96 169; time 201 -; times 100 153;
getpid 39 172; gettid 186 178; getppid 110 173; getrusage 98 165; getrlimit 97 163;
setrlimit 160 164; sysinfo 99 179; uname 63 160; getrandom 318 278; prctl 157 167; sendto 44 206;
recvfrom 45 207; sendmsg 46 211; recvmsg 47 212; getsockname 51 204; getsockopt 55 209;
shutdown 48 210; poll 7 -; ppoll 271 73; select 23 -; pselect6 270 72
"""
"""All calls that a decoder needs: each with its number on x86_64 and on aarch64."""

_CLONE, _CLONE3, _PRLIMIT, _MMAP, _MPROTECT = (56, 220), (435, 435), (302, 261), (9, 222), (10, 226)
"""Calls that it needs in some of their forms."""

_CLONE_THREAD, _PROT_EXEC = 0x10000, 4

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""The column of each above, and how <linux/audit.h> calls it."""


def end_with_parent() -> None:
    """Have the kernel end this process when its parent ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def end_first() -> None:
    """Have the kernel end this process and what it forks, not the server, if memory runs out."""
    with suppress(OSError):  # not on Linux
        Path("/proc/self/oom_score_adj").write_text("1000")


def confine(most: int) -> bool:
    """Limit this process to ``most`` bytes of address space and to the files that it has open.

    Returns whether the platform can do all of that.
    """
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    except (OSError, ValueError):
        return False
    return _refuse_calls()


def size() -> int:
    """Bytes of address space that this process uses."""
    with Path("/proc/self/statm").open("rb") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


class CpuAllowance:
    """The CPU time of one recording: what passes it ends the process by SIGXCPU."""

    def __init__(self) -> None:
        self._begin = _cpu_seconds()
        self._seconds = 0.0
        self.passed(0.0)

    def passed(self, seconds: float) -> None:
        """So many seconds of the recording have been decoded."""
        self._seconds = max(seconds, self._seconds)  # a recording may be read a second time
        until = self._begin + _CPU_SECONDS + _CPU_SHARE * self._seconds
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(until), most))


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _refuse_calls() -> bool:
    """Have the kernel answer EPERM to all other calls than those above, where it can."""
    if not _program:
        return False
    steps = ctypes.create_string_buffer(_program)
    filters = struct.pack("HxxxxxxP", len(_program) // _STEP.size, ctypes.addressof(steps))
    unprivileged = _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    return unprivileged and _prctl(_PR_SET_SECCOMP, _FILTER, ctypes.create_string_buffer(filters))


def _prctl(option: int, *arguments: object) -> bool:
    """prctl(2). Kernels and containers that do not know an option go without it."""
    numbers = [ctypes.c_ulong(one) if isinstance(one, int) else one for one in arguments]
    result: int = _libc.prctl(option, *numbers, *[ctypes.c_ulong(0)] * (4 - len(numbers)))
    return result == 0


_libc = ctypes.CDLL(None)

# Classic BPF, as seccomp(2) takes it: each step is a code, two jumps and a value.
_STEP = struct.Struct("HBBI")
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16  # in struct seccomp_data
_ALLOW, _REFUSE, _UNKNOWN = 0x7FFF0000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS


def _filter(machine: str) -> bytes:
    """The program that the kernel runs at each call; empty where we know no numbers of calls."""
    if machine not in _ARCHITECTURES:
        return b""
    column, architecture = _ARCHITECTURES[machine]
    calls = [call.split()[1 + column] for call in _ALLOWED.replace("\n", " ").split(";")]
    allowed = [int(number) for number in calls if number != "-"]
    steps = [
        _STEP.pack(_LOAD, 0, 0, _ARCHITECTURE_AT),
        _STEP.pack(_JUMP_IF_EQUAL, 1, 0, architecture),
        _STEP.pack(_RETURN, 0, 0, _REFUSE),
        _STEP.pack(_LOAD, 0, 0, _NUMBER_AT),
        # The C library makes threads by the older call then, whose flags can be seen.
        *_if(_CLONE3[column], _STEP.pack(_RETURN, 0, 0, _UNKNOWN)),
        *_if(_CLONE[column], *_argument(0, _JUMP_IF_ANY_BIT, _CLONE_THREAD, _ALLOW, _REFUSE)),
        *_if(_PRLIMIT[column], *_argument(0, _JUMP_IF_EQUAL, 0, _ALLOW, _REFUSE)),  # of itself
        *_if(_MMAP[column], *_argument(2, _JUMP_IF_ANY_BIT, _PROT_EXEC, _REFUSE, _ALLOW)),
        *_if(_MPROTECT[column], *_argument(2, _JUMP_IF_ANY_BIT, _PROT_EXEC, _REFUSE, _ALLOW)),
        *(_STEP.pack(_JUMP_IF_EQUAL, len(allowed) - i, 0, one) for i, one in enumerate(allowed)),
        _STEP.pack(_RETURN, 0, 0, _REFUSE),
        _STEP.pack(_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(steps)


def _if(number: int, *then: bytes) -> list[bytes]:
    """Take the steps ``then``, which return, if the call is this one."""
    return [_STEP.pack(_JUMP_IF_EQUAL, 0, len(then), number), *then]


def _argument(index: int, jump: int, value: int, if_true: int, if_false: int) -> list[bytes]:
    """Return one of two answers by the lower half of an argument of the call."""
    return [
        _STEP.pack(_LOAD, 0, 0, _ARGUMENTS_AT + 8 * index),
        _STEP.pack(jump, 0, 1, value),
        _STEP.pack(_RETURN, 0, 0, if_true),
        _STEP.pack(_RETURN, 0, 0, if_false),
    ]


_program = _filter(platform.machine())
