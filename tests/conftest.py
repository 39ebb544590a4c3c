"""What every test stands on."""

from __future__ import annotations

import signal
import threading

# A shell that starts the tests in the background, or nohup, lets them and every command they start ignore these.
if threading.current_thread() is threading.main_thread():
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
