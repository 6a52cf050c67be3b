"""The subcommands of ``masp``, one per file; `sb3_masp.cli` collects them."""
