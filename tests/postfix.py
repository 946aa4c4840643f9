"""A Postfix of our own for a while: its own folders, a free port on loopback, nothing of the machine's."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

POSTFIX = "/usr/sbin/postfix"

_MAIN = {
    "compatibility_level": "3.6",
    "mail_owner": "postfix",
    "setgid_group": "postdrop",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "myhostname": "postfix.example",
    "mynetworks": "127.0.0.0/8",
    "mydestination": "",
    "local_recipient_maps": "",
    "alias_maps": "",
    "smtpd_relay_restrictions": "permit_mynetworks, reject",
    "smtp_dns_support_level": "disabled",
    "smtp_host_lookup": "native",
}

# service type private unprivileged chroot wakeup maxproc command
_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""


def missing() -> str:
    """What it takes and is not there; "" when Postfix can be run."""
    if not Path(POSTFIX).exists():
        return "Postfix"
    if os.geteuid() != 0:
        return "the right to run Postfix, which is root's,"
    # Its processes run as another user, who must be let into its folders.
    temporary = Path(tempfile.gettempdir()).resolve()
    if not all(folder.stat().st_mode & 0o001 for folder in (temporary, *temporary.parents)):
        return "a temporary folder that Postfix may enter,"
    return ""


class Postfix:
    """Runs inside `with`. `settings` are added to main.cf; `{folder}` in them is its folder."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._settings = settings

    def __enter__(self) -> Postfix:
        self.folder = Path(tempfile.mkdtemp(prefix="mimeportal-postfix-"))
        self.folder.chmod(0o755)
        user = pwd.getpwnam("postfix")
        for name in ("etc", "queue", "data", "mail"):
            (self.folder / name).mkdir()
        for name in ("data", "mail"):
            os.chown(self.folder / name, user.pw_uid, user.pw_gid)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = ("127.0.0.1", int(free.getsockname()[1]))
        main = {
            **_MAIN,
            "queue_directory": f"{self.folder}/queue",
            "data_directory": f"{self.folder}/data",
            "maillog_file": f"{self.folder}/log",
            "maillog_file_prefixes": str(self.folder),
            **{name: value.replace("{folder}", str(self.folder)) for name, value in self._settings.items()},
        }
        (self.folder / "etc" / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in main.items()))
        (self.folder / "etc" / "master.cf").write_text(_MASTER.format(port=self.address[1]))
        try:
            self._run("start")
            self._wait()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    @property
    def log(self) -> str:
        log = self.folder / "log"
        return log.read_text("utf-8", "replace") if log.exists() else ""

    def _run(self, verb: str) -> None:
        command = [POSTFIX, "-c", str(self.folder / "etc"), verb]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise RuntimeError(f"postfix {verb}: {done.stdout}{done.stderr}{self.log}")

    def _wait(self) -> None:
        until = time.monotonic() + 30
        while True:
            try:
                with socket.create_connection(self.address, timeout=10):
                    return
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)

    def _end(self) -> None:
        try:
            self._run("stop")
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)
