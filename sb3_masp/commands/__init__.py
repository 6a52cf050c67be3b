"""The subcommands of ``masp``, one a file; `sb3_masp.cli` collects them."""
