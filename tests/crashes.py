"""What a file can look like after a crash: the system calls of a save, cut off anywhere.

`Recorder` stands for the module `os` and notes what changes the disk. `states` then plays
every prefix of the notes with everything lost that was not synced: data after the last
fsync of a file (gone, half there, or zeros), and the names after the last fsync of the
folder (each number of them, in order, may have reached the disk).
"""

from __future__ import annotations

import os


class Recorder:
    """The module `os`, noting (what, ...) in `trace`."""

    def __init__(self):
        self.trace, self._kind = [], {}

    def __getattr__(self, name):
        return getattr(os, name)

    def open(self, path, flags, mode=0o777):
        new = not os.path.exists(path)
        fd = os.open(path, flags, mode)
        self._kind[fd] = os.fspath(path)
        if flags & os.O_CREAT and new:
            self.trace.append(("create", os.fspath(path)))
        if flags & os.O_TRUNC and not new:
            self.trace.append(("truncate", os.fspath(path)))
        return fd

    def write(self, fd, data):
        n = os.write(fd, data)
        self.trace.append(("write", self._kind[fd], bytes(data[:n])))
        return n

    def fsync(self, fd):
        os.fsync(fd)
        what = "sync folder" if os.path.isdir(self._kind[fd]) else "sync"
        self.trace.append((what, self._kind[fd]))

    def replace(self, old, new):
        os.replace(old, new)
        self._kind.update({fd: new for fd, path in self._kind.items() if path == old})
        self.trace.append(("rename", old, new))

    def unlink(self, path):
        os.unlink(path)
        self.trace.append(("unlink", path))


class _Inode:
    def __init__(self, data=b"", synced=b""):
        self.data, self.synced = data, synced

    def after_crash(self):
        """All that may be found: what was synced, and of the rest nothing, half, or zeros."""
        if self.data == self.synced:
            return [self.data]
        rest = self.data[len(self.synced) :]
        kept = self.synced if self.data.startswith(self.synced) else b""
        return [self.synced, kept, kept + rest[: len(rest) // 2], kept + bytes(len(rest)),
                self.data]  # fmt: skip


def states(trace, target, old):
    """(steps done, contents that `target` may have; None: no file) for each prefix."""
    for n in range(len(trace) + 1):
        inode = {target: _Inode(old, old)} if old is not None else {}
        names = dict(inode)  # as the process sees them
        durable, pending = dict(inode), []  # as the disk has them; changes of names since
        for what, path, *rest in trace[:n]:
            if what == "create":
                names[path] = _Inode()
                pending.append((path, names[path]))
            elif what == "truncate":
                names[path].data = b""
            elif what == "write":
                names[path].data += rest[0]
            elif what == "sync":
                names[path].synced = names[path].data
            elif what == "rename":
                names[rest[0]] = names.pop(path)
                pending += [(path, None, rest[0], names[rest[0]])]
            elif what == "unlink":
                names.pop(path)
                pending.append((path, None))
            elif what == "sync folder":
                durable, pending = dict(names), []
        for reached in range(len(pending) + 1):
            disk = dict(durable)
            for path, node, *to in pending[:reached]:
                disk[path] = node
                if to:
                    disk[to[0]] = to[1]
            node = disk.get(target)
            yield n, [None] if node is None else node.after_crash()


def check(trace, target, old, new):
    """Complaints about a save from `old` to `new` (bytes): none when it is safe."""
    wrong = []
    for n, contents in states(trace, target, old):
        done = n == len(trace)
        for data in contents:
            if data != new and (done or data != old):
                size = None if data is None else len(data)
                last = trace[n - 1][0] if n else "nothing"
                wrong.append(f"after {n} of {len(trace)} steps ({last}): {size} bytes")
    return wrong
