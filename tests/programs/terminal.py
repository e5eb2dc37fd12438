"""Runs a command on a terminal of its own and plays a script against it.

usage: terminal.py '[["expect", "text"], ["send", "keys"], ["signal", "SIGUSR1"], ["wait", "1"], …]' COMMAND…

Prints everything that appeared on the terminal. The status is the command's; 98 when a text did
not appear within 20 seconds.
"""
import json, os, pty, select, signal, sys, time

steps = json.loads(sys.argv[1])
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])

seen = b""
read_up_to = 0


def read(seconds):
    """Appends what comes within so many seconds; False at the end."""
    global seen
    if not select.select([terminal], [], [], seconds)[0]:
        return True
    try:
        data = os.read(terminal, 65536)
    except OSError:
        data = b""
    seen += data
    return data != b""


def expect(text):
    global read_up_to
    deadline = time.monotonic() + 20
    while text not in seen[read_up_to:]:
        if time.monotonic() > deadline or not read(0.1):
            sys.stdout.buffer.write(seen + b"\n[never came: " + text + b"]\n")
            os.kill(pid, 9)
            sys.exit(98)
    read_up_to = seen.index(text, read_up_to) + len(text)


for verb, text in steps:
    if verb == "expect":
        expect(text.encode())
    elif verb == "send":
        time.sleep(0.2)
        os.write(terminal, text.encode())
    elif verb == "wait":
        time.sleep(float(text))
    elif verb == "signal":
        time.sleep(0.2)
        os.kill(pid, getattr(signal, text))
while read(1):
    if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) and not select.select([terminal], [], [], 0.2)[0]:
        break
sys.stdout.buffer.write(seen)
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.exit(status if status >= 0 else 128 - status)
