"""What every test stands on."""

from __future__ import annotations

import signal
import threading

# A shell that starts the tests in the background lets them, and so every command they start, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)
