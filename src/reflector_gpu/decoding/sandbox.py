"""What a decoder process may do: use so much memory and so much time, and nothing else.

FFmpeg reads bytes that anybody may have made. All that it needs is open before it begins. So
nothing is lost by refusing it files, sockets and programs (seccomp(2)), memory and time
(``RLIMIT_AS`` and ``RLIMIT_CPU`` of setrlimit(2)).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import math
import platform
import resource
import signal
import struct
from pathlib import Path

_CPU_SECONDS = 5.0
"""A recording may take so long at once ..."""

_CPU_SHARE = 0.5
"""... and besides this much for each of its own seconds; a hundredth is usual."""

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06  # of classic BPF: BPF_LD|W|ABS, BPF_JMP|JEQ|K, ...
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4  # in struct seccomp_data
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM

_REFUSED = """
open 2 -; creat 85 -; openat 257 56; openat2 437 437; memfd_create 319 279; link 86 -;
linkat 265 37; symlink 88 -; symlinkat 266 36; unlink 87 -; unlinkat 263 35; rename 82 -;
renameat 264 38; renameat2 316 276; mkdir 83 -; mkdirat 258 34; chmod 90 -; fchmod 91 52;
fchmodat 268 53; chown 92 -; fchownat 260 54; truncate 76 45; mknod 133 -; mknodat 259 33;
socket 41 198; socketpair 53 199; connect 42 203; bind 49 200; listen 50 201; accept 43 202;
accept4 288 242; execve 59 221; execveat 322 281; fork 57 -; vfork 58 -; ptrace 101 117;
process_vm_readv 310 270; process_vm_writev 311 271; kill 62 129; tkill 200 130; pidfd_open
434 434; pidfd_getfd 438 438; pidfd_send_signal 424 424; mount 165 40; chroot 161 51; bpf
321 280; io_uring_setup 425 425; userfaultfd 323 282; unshare 272 97; setns 308 268; keyctl
250 219; add_key 248 217
"""
"""Calls that no decoder needs: each with its number on x86_64 and on aarch64."""
_ARCHITECTURES = {"x86_64": (1, 0xC000003E), "aarch64": (2, 0xC00000B7)}
"""The column of each above, and how <linux/audit.h> calls it."""

_X32 = 0x40000000  # numbers from here on are x86_64's other calls, which nobody needs
_JUMP_AT_LEAST = 0x35


def end_with_parent() -> None:
    """Have the kernel end this process when its parent ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def confine(most: int) -> None:
    """Limit this process to ``most`` bytes of address space and to the files that it has open."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    _refuse_calls()


def size() -> int:
    """Bytes of address space that this process uses."""
    with Path("/proc/self/statm").open("rb") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


class Allowance:
    """The CPU time of one recording: what passes it ends the process by SIGXCPU."""

    def __init__(self) -> None:
        self._begin = _cpu_seconds()
        self.passed(0.0)

    def passed(self, seconds: float) -> None:
        """So many seconds of the recording have been decoded."""
        until = self._begin + _CPU_SECONDS + _CPU_SHARE * seconds
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(until), most))


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _refuse_calls() -> None:
    """Have the kernel answer EPERM to the calls of `_REFUSED`, where it can."""
    if platform.machine() not in _ARCHITECTURES:
        return
    column, architecture = _ARCHITECTURES[platform.machine()]
    calls = [call.split()[column] for call in _REFUSED.replace("\n", " ").split(";")]
    numbers = [int(number) for number in calls if number != "-"]
    program = [
        _step(_LOAD, _ARCHITECTURE_AT),
        _step(_JUMP_EQUAL, architecture, 1, 0),
        _step(_RETURN, _REFUSE),
        _step(_LOAD, _NUMBER_AT),
        _step(_JUMP_AT_LEAST, _X32, len(numbers) + 1, 0),
        *(_step(_JUMP_EQUAL, number, len(numbers) - i, 0) for i, number in enumerate(numbers)),
        _step(_RETURN, _ALLOW),
        _step(_RETURN, _REFUSE),
    ]
    steps = ctypes.create_string_buffer(b"".join(program))
    filters = struct.pack("HxxxxxxP", len(program), ctypes.addressof(steps))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_SECCOMP, _FILTER, ctypes.create_string_buffer(filters))


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def _prctl(option: int, *arguments: object) -> None:
    """prctl(2). Kernels and containers that do not know an option go without it."""
    numbers = [ctypes.c_ulong(one) if isinstance(one, int) else one for one in arguments]
    _libc.prctl(option, *numbers, *[ctypes.c_ulong(0)] * (4 - len(numbers)))


_libc = ctypes.CDLL(None)
