"""The walls around a guest's process: bubblewrap where the system has it, plain limits where it has not.

Inside there is no network, no data folder, no home, and nothing to write to that outlives an answer. Where the suite
runs as root, the guest runs under a user id of its own: as root in a user namespace it would keep the kernel's root
id, for which some files under ``/proc/sys`` open.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, replace
from pathlib import Path

from suite.files import PACKAGE
from suite.guests import filter

#: How a guest was kept, in records: in a container; in processes of its own without walls; in the suite's process.
CONTAINED, PROCESSES, NONE = "contained", "processes", "none"

#: The user and group id of guests where the suite itself runs as root.
GUEST_ID = 64_789

#: The folder for temporary files inside, the only one that can be written, and its bytes. Its name is the suite's own:
#: what lies in it is wiped after every sitting, so an environment that is installed under ``/tmp`` must not.
SCRATCH, SCRATCH_BYTES = "/latent-suite-scratch", 2**26

#: What the system's own programs and libraries need.
SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/alternatives")

#: Images that lie inside installed packages: a guest must not find test images there.
EMBEDDED = ("sklearn/datasets/data", "sklearn/datasets/images", "skimage/data")
#: What the suite's own package holds that was trained on labels: a guest must find no labels either.
TRAINED = ("measuring/judges",)


#: What a keeper's heap keeps, as a trial's does (``suite.running.limits.kept_heap``): the numbers are the same, the
#: conv nets a third faster.
TUNABLES = "glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=2147483647:glibc.malloc.top_pad=67108864"


@dataclass(frozen=True)
class Containment:
    """What stands around a guest's process.

    Attributes:
        kind: ``"contained"`` or ``"processes"``.
        version: Of bubblewrap; empty without it.
        uid: The user id inside; the receiver's is the next one where the suite runs as root.
        filter: Whether the system calls of a sitting are filtered (``suite.guests.filter``).
    """

    kind: str
    version: str
    uid: int
    filter: bool = False

    @property
    def apart(self) -> bool:
        """Whether sender and receiver can have user ids of their own."""
        return self.kind == CONTAINED and os.getuid() == 0


@functools.cache
def available() -> Containment:
    """Returns the strongest containment that works here, tried once."""
    here = Containment(PROCESSES, "", os.getuid(), filter.works())
    found = shutil.which("bwrap")
    if found is None or (os.getuid() == 0 and shutil.which("setpriv") is None):
        return here
    uid = GUEST_ID if os.getuid() == 0 else os.getuid()
    walls = Containment(CONTAINED, "", uid, here.filter)
    try:
        told = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=10, check=True)
        probe = command(walls, [sys.executable, "-I", "-c", "import os; print(os.getuid())"])
        tried = subprocess.run(probe, capture_output=True, text=True, timeout=30, env={}, check=False)
    except (OSError, subprocess.SubprocessError):
        return here
    works = tried.returncode == 0 and tried.stdout.strip() == str(uid)
    return replace(walls, version=told.stdout.split()[-1]) if works else here


def command(containment: Containment, inner: list[str], descriptors: int = 0) -> list[str]:
    """Returns the command line that runs ``inner`` behind the walls.

    Args:
        containment: From ``available``.
        inner: The command inside, its interpreter first.
        descriptors: How many descriptors from 3 on are meant to be passed; bubblewrap passes what it inherits.
    """
    if containment.kind != CONTAINED:
        return inner
    bwrap = shutil.which("bwrap") or "bwrap"
    walls = [bwrap, "--die-with-parent", "--new-session", "--as-pid-1", "--clearenv"]
    if os.getuid() == 0:
        walls += ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
        walls += ["--cap-drop", "ALL"]
        for capability in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):  # for setpriv, which drops them
            walls += ["--cap-add", capability]
        ids = [f"--reuid={containment.uid}", f"--regid={containment.uid}", "--clear-groups"]
        dropped = ["--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
        inner = [shutil.which("setpriv") or "setpriv", *ids, *dropped, *inner]
    else:
        walls += ["--unshare-all", "--unshare-user", "--disable-userns", "--cap-drop", "ALL"]
    return [*walls, *_files(), *_environment(), "--chdir", "/", "--", *inner]


def _files() -> list[str]:
    """An allow-list: programs, libraries, the suite's own package, a small scratch folder; nothing else exists."""
    seen: list[str] = []
    arguments = ["--size", str(SCRATCH_BYTES), "--perms", "1777", "--tmpfs", SCRATCH]
    for place in [*SYSTEM, *_interpreter(), str(PACKAGE)]:
        if os.path.lexists(place) and not any(place == other or place.startswith(f"{other}/") for other in seen):
            seen.append(place)
            for parent in reversed(Path(place).parents[:-1]):
                arguments += ["--perms", "0755", "--dir", str(parent)]
            link = Path(place).is_symlink() and Path(place).parent == Path("/")
            arguments += ["--symlink", str(Path(place).readlink()), place] if link else ["--ro-bind", place, place]
    hidden = [root / name for root in _packages() for name in EMBEDDED]
    for folder in [*hidden, *(PACKAGE / name for name in TRAINED)]:
        if folder.is_dir():
            arguments += ["--tmpfs", str(folder), "--remount-ro", str(folder)]
    # No /proc: the counters of other processes outlive a sitting. Libraries look at the processor there.
    arguments += ["--dir", "/proc", "--ro-bind", "/proc/cpuinfo", "/proc/cpuinfo", "--dev", "/dev"]
    # A terminal's folder would keep the time at which it was read.
    return [*arguments, "--remount-ro", "/dev/pts", "--remount-ro", "/dev", "--remount-ro", "/"]


def _interpreter() -> list[str]:
    """Where Python and the installed packages lie."""
    paths = [sys.base_prefix, sys.prefix, *(sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib"))]
    return list(dict.fromkeys(str(Path(path)) for path in paths))


def _packages() -> list[Path]:
    """Folders of packages below all that is bound: this interpreter's, its parent's, the system's, conda's."""
    found = dict.fromkeys(Path(path) for path in [*map(sysconfig.get_path, ("purelib", "platlib")), *sys.path] if path)
    for prefix in dict.fromkeys(map(Path, (sys.prefix, sys.base_prefix, "/usr", "/usr/local"))):
        for below in (".", "pkgs/*", "envs/*"):
            found |= dict.fromkeys(sorted(prefix.glob(f"{below}/lib*/python*/*-packages")))
    bound = [*SYSTEM, *_interpreter()]
    return list({path.resolve(): path for path in found if any(map(path.is_relative_to, bound))}.values())


def _environment() -> list[str]:
    """The few variables that a guest's process has."""
    kept = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(PACKAGE.parent), "PATH": "/usr/bin:/bin"}
    kept |= {"HOME": SCRATCH, "TMPDIR": SCRATCH, "GLIBC_TUNABLES": TUNABLES}
    kept |= {name: os.environ[name] for name in ("LANG", "LD_LIBRARY_PATH") if name in os.environ}
    return [part for name, value in kept.items() for part in ("--setenv", name, value)]


def environment() -> dict[str, str]:
    """Returns the environment of a guest's process without walls: nothing of the suite's own."""
    kept = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(PACKAGE.parent), "PATH": os.defpath, "HOME": "/nonexistent"}
    kept["GLIBC_TUNABLES"] = TUNABLES
    return kept | {name: os.environ[name] for name in ("LANG", "LD_LIBRARY_PATH") if name in os.environ}
