"""What holds for all tests."""

import signal

# A shell's background jobs are born deaf to Ctrl-C, and so would be what tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
